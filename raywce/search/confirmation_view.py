"""What the confirm phase came to, on the screen: the finding in a sentence, and a table for each set of utterances."""

from __future__ import annotations

import rich
from rich.table import Table

from raywce.search.comparison import Claim, Comparison, Interval
from raywce.search.lines import show_line
from raywce.search.outcome import Confirmation


def show_confirmation(found: Confirmation) -> None:
    """Print the finding, what may be claimed of each candidate, and the figures on dev and on the test splits."""
    show_line(finding(found))
    percent = f"{100 * found.dev.confidence:g} %"
    for name, claim in found.choice.claims.items():
        show_line(f"{name}: {_claim(claim, percent)}")
    for name, reason in found.failed.items():
        show_line(f"{name} is left out, as a run of it failed: {reason}")
    shown = found.choice.winner or _nearest(found)
    if shown:
        kept_back = f"dev, speakers kept back, {shown}, {found.dev.seeds} seeds, {percent} intervals, WER in %"
        rich.get_console().print(comparison_table(found.dev, shown, kept_back, found.choice.claims[shown]))
        for name, test in found.tests.items():
            rich.get_console().print(comparison_table(test, shown, f"{name}, {shown}, {percent} intervals, WER in %"))
    if found.dev.no_claim_on_new_speakers:
        languages = ", ".join(found.dev.no_claim_on_new_speakers)
        show_line(f"Too few speakers of {languages} are known in dev: nothing is claimed about new ones.")
    if found.closed:
        show_line(f"The test split stays closed: {found.closed}")


def finding(found: Confirmation) -> str:
    """The finding in one sentence."""
    confidence = f"{100 * found.dev.confidence:g} % confidence"
    winner = found.choice.winner
    if winner is None:
        nearest = _nearest(found)
        if nearest is None:
            return "Nothing confirmed: every candidate failed."
        worst = found.choice.claims[nearest].worst
        by = f"{worst[0]} may be {worst[1]:.2f} points above its limit" if worst else ""
        return f"Nothing confirmed: no candidate keeps all limits with {confidence}. The nearest is {nearest}: {by}."
    gain = found.dev.candidates[winner].low_resource_gain
    assert gain is not None
    change = f"{_points(gain)} points of low-resource WER against the baseline"
    if found.choice.claims[winner].better:
        return f"Confirmed: {winner} keeps all limits and is better than the baseline with {confidence}: {change}."
    return (
        f"{winner} keeps all limits with {confidence}, but is not better than the baseline with confidence: {change}."
    )


def comparison_table(figures: Comparison, candidate: str, title: str, claim: Claim | None = None) -> Table:
    """WER per language of original, baseline and candidate with intervals, and the differences in points.

    Args:
        figures: of one set of utterances.
        candidate: whose column it is.
        title: of the table.
        claim: of the candidate; its bounds are shown where given.
    """
    own = figures.candidates[candidate]
    assert own.against_baseline is not None
    assert own.against_original is not None
    columns = ["language", "original", "baseline", "candidate", "against baseline", "against original"]
    columns += ["above limit by less than"] if claim else []
    columns += ["language identified"] if own.language_identification else []
    table = Table(*columns, title=title)
    for language, wer in own.wer.items():
        cells = [language, *(_wer(one.wer[language]) for one in (figures.original, figures.baseline)), _wer(wer)]
        cells += [_points(own.against_baseline[language]), _points(own.against_original[language])]
        if claim:
            bound = claim.bounds.get(language)
            cells.append("" if bound is None else f"{bound:+.2f}")
        if own.language_identification:
            cells.append(f"{100 * own.language_identification[language]:.1f} %")
        table.add_row(*cells)
    return table


def _claim(claim: Claim, confidence: str) -> str:
    kept = "keeps all limits" if claim.keeps_limits else "may break a limit"
    better = "better than the baseline" if claim.better else "not shown to be better than the baseline"
    p = f"p = {claim.p_breaks_a_limit:.3g} and {claim.p_not_better:.3g}, adjusted for the number of candidates"
    return f"{kept}, {better} at {confidence} ({p})"


def _nearest(found: Confirmation) -> str | None:
    """The candidate whose highest bound is the lowest."""
    claims = found.choice.claims
    return min(claims, key=lambda name: _worst(claims[name]), default=None)


def _worst(claim: Claim) -> float:
    return claim.worst[1] if claim.worst else 0.0


def _wer(interval: Interval) -> str:
    return f"{100 * interval.value:.2f} ± {50 * (interval.high - interval.low):.2f}"


def _points(interval: Interval) -> str:
    return f"{100 * interval.value:+.2f} ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"
