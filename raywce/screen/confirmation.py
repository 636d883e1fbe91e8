"""The outcome of the confirm phase on the screen: the finding, the claims, and tables for each set of utterances."""

from __future__ import annotations

from rich.table import Table

from raywce import numbers
from raywce.screen.console import legend, marked, plain_table, show_line, show_table
from raywce.selection.comparison import Choice, Claim, Comparison
from raywce.selection.outcome import Confirmation


def show_confirmation(found: Confirmation) -> None:
    """Print the finding, what may be claimed of each candidate, and the figures on dev and on the test splits."""
    show_line(finding(found))
    for name, reason in found.failed.items():
        show_line(f"{name} is left out because one of its runs failed: {reason}")
    if found.choice.claims:
        level = numbers.confidence(found.dev.confidence)
        title = f"Claims at {level} % confidence; p is adjusted for the number of candidates"
        show_table(title, claims_table(found.choice))
    if found.plain and found.plain.choice.claims:
        show_table(f"The same by the plain {found.plain.dev.label}", claims_table(found.plain.choice))
    shown = found.choice.shown
    if shown:
        where = f"dev, speakers held out of the search, {found.dev.seeds} seeds"
        _show_comparison(found.dev, shown, where, found.choice.claims[shown])
        for name, test in found.tests.items():
            _show_comparison(test, shown, name)
        if found.dev.candidates[shown].language_identification:
            show_line("identified: share of the utterances whose language was recognised")
    if found.dev.no_claim_on_new_speakers:
        languages = ", ".join(found.dev.no_claim_on_new_speakers)
        show_line(f"dev has too few known speakers of {languages} for a claim about new speakers.")
    if found.closed:
        show_line(f"The test split stays closed: {found.closed}")


def finding(found: Confirmation) -> str:
    """Return the finding in a sentence, and in a second one where the plain rate would say something else."""
    return f"{_finding(found)} {_by_plain_rate(found)}".rstrip()


def _finding(found: Confirmation) -> str:
    confidence = f"{numbers.confidence(found.dev.confidence)} % confidence"
    winner = found.choice.winner
    if winner is None:
        nearest = found.choice.nearest
        if nearest is None:
            return "Nothing confirmed: every candidate failed."
        worst = found.choice.claims[nearest].worst
        by = f"{worst[0]} may be {numbers.distance(worst[1])} points above its limit" if worst else ""
        return f"Nothing confirmed: no candidate keeps all limits with {confidence}. The nearest is {nearest}: {by}."
    gain = found.dev.candidates[winner].low_resource_gain
    assert gain is not None
    change = f"{numbers.change_interval(gain)} points of low-resource {found.dev.label} compared with the baseline"
    if found.choice.claims[winner].better:
        return f"Confirmed: {winner} keeps all limits and is better than the baseline with {confidence}: {change}."
    return (
        f"{winner} keeps all limits with {confidence}, but is not better than the baseline with confidence: {change}."
    )


def _by_plain_rate(found: Confirmation) -> str:
    """Return a sentence on the verdict by the plain rate; empty where it is the same."""
    if found.plain is None:
        return ""
    by = f"By the plain {found.plain.dev.label},"
    winner, others = found.choice.winner, found.plain.choice
    if winner is None:
        return f"{by} {others.winner} keeps all limits." if others.winner else ""
    if not others.claims[winner].keeps_limits:
        return f"{by} it is not shown to keep all limits."
    better = others.claims[winner].better
    if better is found.choice.claims[winner].better:
        return ""
    return f"{by} it is {'' if better else 'not shown to be '}better than the baseline."


def claims_table(choice: Choice) -> Table:
    """Return a row for each candidate: whether it keeps all limits and beats the baseline, each with its p."""
    table = plain_table("candidate", "keeps all limits", "p", "beats the baseline", "p")
    for name, claim in choice.claims.items():
        kept, better = ("yes" if holds else "not shown" for holds in (claim.keeps_limits, claim.better))
        table.add_row(name, kept, f"{claim.p_breaks_a_limit:.3g}", better, f"{claim.p_not_better:.3g}")
    return table


def wer_table(figures: Comparison, candidate: str) -> Table:
    """Return the WER of original, baseline and candidate with intervals, in %, a row for each language."""
    table = plain_table("language", "original", "baseline", "candidate")
    for language, wer in figures.candidates[candidate].wer.items():
        wers = (figures.original.wer[language], figures.baseline.wer[language], wer)
        table.add_row(marked(language, figures.watched), *map(numbers.percent_interval, wers))
    return table


def change_table(figures: Comparison, candidate: str, claim: Claim | None = None) -> Table:
    """Return the candidate's changes of the WER with intervals, in points, a row for each language.

    Args:
        figures: of one set of utterances.
        candidate: whose changes they are.
        claim: of the candidate; its bounds are shown where given.
    """
    own = figures.candidates[candidate]
    assert own.against_baseline is not None
    assert own.against_original is not None
    headings = ["language", "from baseline", "from original"]
    headings += ["excess"] if claim else []
    headings += ["identified"] if own.language_identification else []
    table = plain_table(*headings)
    for language in own.wer:
        changes = (own.against_baseline[language], own.against_original[language])
        cells = [marked(language, figures.watched), *map(numbers.change_interval, changes)]
        cells += [numbers.points(claim.bounds.get(language))] if claim else []
        if own.language_identification:
            cells.append(f"{numbers.percent(own.language_identification[language], digits=1)} %")
        table.add_row(*cells)
    return table


def _show_comparison(figures: Comparison, candidate: str, where: str, claim: Claim | None = None) -> None:
    level = numbers.confidence(figures.confidence)
    show_line(f"{candidate} on {where}:")
    show_table(f"{figures.label} in %, {level} % intervals{legend(figures.watched)}", wer_table(figures, candidate))
    excess = "; excess: upper bound above the limit" if claim and claim.bounds else ""
    title = f"Change of the {figures.label} in points, {level} % intervals{excess}"
    show_table(title, change_table(figures, candidate, claim))
    for note in figures.notes:
        show_line(note)
