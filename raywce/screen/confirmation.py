"""The outcome of the confirm phase on the screen: the finding, the claims, and tables for each set of utterances."""

from __future__ import annotations

from rich.table import Table

from raywce import numbers
from raywce.screen.console import legend, marked, plain_table, show_line, show_notes, show_table
from raywce.selection.candidates import Candidate
from raywce.selection.comparison import Choice, Claim, Comparison
from raywce.selection.outcome import Confirmation
from raywce.selection.robustness import RobustnessFigures

_BY_HELD_OUT, _BY_BOTH = "by held-out speech", "by held-out speech and the trials together"


def show_confirmation(found: Confirmation) -> None:
    """Print the finding, what may be claimed of each candidate, and the figures on dev and on the test splits."""
    show_line(finding(found))
    for name, reason in found.failed.items():
        show_line(f"{name} is left out because one of its runs failed: {reason}")
    if found.choice.claims:
        level = numbers.confidence(found.dev.confidence)
        title = f"Keeps all limits, beats the baseline; {level} % confidence, one-sided; safest first"
        show_table(title, claims_table(found.choice))
    if found.plain and found.plain.choice.claims:
        show_table(f"The same by the plain {found.plain.dev.label}", claims_table(found.plain.choice))
    shown = found.choice.shown
    if shown:
        seeds = found.dev.candidates[shown].seeds
        where = f"dev, speakers held out of the search, {seeds} seeds, {found.dev.baseline.seeds} of the baseline"
        _show_comparison(found.dev, shown, where, found.choice.claims[shown])
        for name, test in found.tests.items():
            _show_comparison(test, shown, name)
        if found.dev.candidates[shown].language_identification:
            show_line("identified: share of the utterances whose language was recognised")
    if found.averaged:
        averaged = found.averaged
        show_line(taken(found))
        _show_comparison(averaged.dev, averaged.candidate, "dev, speakers held out of the search, averages of both")
        for name, test in averaged.tests.items():
            _show_comparison(test, averaged.candidate, f"{name}, averages of both")
    if found.robustness and found.robustness.rows:
        title = "Robustness on test in %, of the model to take and the baseline's counterpart"
        show_table(title, robustness_table(found.robustness))
    if found.robustness and found.robustness.unmeasured:
        show_line(f"Limits of robustness that nothing was measured for: {'; '.join(found.robustness.unmeasured)}.")
    if found.dev.no_claim_on_new_speakers:
        languages = ", ".join(found.dev.no_claim_on_new_speakers)
        show_line(f"dev has too few known speakers of {languages} for a claim about new speakers.")
    if found.closed:
        show_line(f"The test split stays closed: {found.closed}")


def candidate_line(candidate: Candidate) -> str:
    """Return a candidate's setting and its chance, as it is printed before it is trained."""
    values = ", ".join(f"{path} = {numbers.hyperparameter(value)}" for path, value in candidate.values.items())
    way = "both parts of dev" if candidate.with_model else "held-out speech"
    chance = numbers.percent(candidate.chance, digits=0)
    return f"{candidate.name}: {values}; the search expects {way} to confirm it with a probability of {chance} %"


def finding(found: Confirmation) -> str:
    """Return the finding, the stronger claim first; where the plain rate would say something else; what it breaks."""
    verdict = found.robustness.verdict if found.robustness else ""
    return " ".join(filter(None, [_finding(found), _by_plain_rate(found), verdict]))


def taken(found: Confirmation) -> str:
    """Return which model to take, and what is known of the average: in sentences; empty without a winner."""
    averaged = found.averaged
    if averaged is None:
        return ""
    candidate, gain = averaged.candidate, averaged.dev.candidates[averaged.candidate].low_resource_gain
    assert gain is not None
    average = f"the average of {candidate}'s {averaged.seeds} trainings"
    change = f"{numbers.change_interval(gain)} points of {averaged.dev.of_gain}"
    if averaged.confirmed:
        sentence = f"The model to take is {average}, which is confirmed by held-out speech itself."
    else:
        lacks = _lacks(averaged.worst, averaged.gain_bound, averaged.dev)
        sentence = (
            f"The model to take is that of {candidate}'s first seed: {average} is not confirmed itself ({lacks})."
        )
    sentence = (
        f"{sentence} Compared with the average of as many of the baseline's trainings, the average changes by {change}."
    )
    return f"{sentence} Averaging alone changes the baseline by {numbers.change_interval(averaged.effect)} points."


def _finding(found: Confirmation) -> str:
    winner, held_out, level = found.choice.winner, found.choice.held_out, numbers.confidence(found.dev.confidence)
    beats = f"keeps all limits and beats the baseline with {level} % confidence"
    if winner is None:
        nearest = found.choice.nearest
        if nearest is None:
            return "Nothing confirmed: every candidate failed."
        claim = found.choice.claims[nearest]
        lacks = _lacks(claim.worst, claim.gain_bound, found.dev)
        lacks = lacks or _why_untested(found.choice, nearest)
        return f"Nothing confirmed: no candidate {beats}. The nearest is {nearest}: {lacks}."
    alone = f"Confirmed {_BY_HELD_OUT}: {held_out} {beats}: {_change(found, held_out)}." if held_out else ""
    if winner == held_out:
        return alone
    if alone:
        return f"{alone} Confirmed {_BY_BOTH}: {winner} too, {_change(found, winner)}."
    why = "By held-out speech alone it is not shown."
    return f"Confirmed {_BY_BOTH}: {winner} {beats}: {_change(found, winner)}. {why}"


def _why_untested(choice: Choice, candidate: str) -> str:
    """Return why a candidate is not confirmed whose bounds by held-out speech hold."""
    names = list(choice.claims)  # the safest first
    if any(not choice.claims[safer].confirmed for safer in names[: names.index(candidate)]):
        return "a safer candidate is not confirmed, and so it is not tested"
    claim = choice.claims[candidate]
    p = max(claim.p_held_out, claim.p_with_model)
    return f"held-out speech and the search's trials together do not show it (p {p:.2g})"


def _change(found: Confirmation, candidate: str) -> str:
    gain = found.dev.candidates[candidate].low_resource_gain
    assert gain is not None
    return f"{numbers.change_interval(gain)} points of {found.dev.of_gain} compared with the baseline"


def _lacks(worst: tuple[str, float] | None, gain_bound: float, dev: Comparison) -> str | None:
    """Return what a claim lacks, by its bounds; None where they hold."""
    language, points = worst or ("", 0.0)
    if points > 0:
        return f"{language} may be {numbers.distance(points)} points above its limit"
    if gain_bound > 0:
        return f"its {dev.of_gain} may be {numbers.distance(gain_bound)} points above the baseline's"
    return None


def _by_plain_rate(found: Confirmation) -> str:
    """Return a sentence on the verdict by the plain rate; empty where it is the same."""
    if found.plain is None:
        return ""
    by, winner, plain = f"By the plain {found.plain.dev.label},", found.choice.winner, found.plain.choice
    if winner is None:
        return f"{by} {plain.winner} is confirmed {way(plain.claims[plain.winner])}." if plain.winner else ""
    own, other = way(found.choice.claims[winner]), way(plain.claims[winner])
    return "" if own == other else f"{by} {winner} is {f'confirmed {other}' if other else 'not confirmed'}."


def way(claim: Claim) -> str | None:
    """Return how a candidate is confirmed, the stronger way; None where it is not."""
    if claim.held_out:
        return _BY_HELD_OUT
    return _BY_BOTH if claim.confirmed else None


def claims_table(choice: Choice) -> Table:
    """Return a row for each candidate: its chance as the search saw it, and whether it is confirmed, with p."""
    table = plain_table("candidate", "seeds", "chance", "held-out speech", "p", "with the trials", "p")
    for name, claim in choice.claims.items():
        model = ("yes" if claim.model_trusted else "yes, partly") if claim.confirmed else "not shown"
        cells = [str(claim.seeds), f"{numbers.percent(claim.chance, digits=0)} %"]
        cells += [
            "yes" if claim.held_out else "not shown",
            f"{claim.p_held_out:.3g}",
            model,
            f"{claim.p_with_model:.3g}",
        ]
        table.add_row(name, *cells)
    return table


def wer_table(figures: Comparison, candidate: str) -> Table:
    """Return the rate of original, baseline and candidate with intervals, in %, a row for each language."""
    table = plain_table("language", "original", "baseline", "candidate")
    for language, wer in figures.candidates[candidate].wer.items():
        wers = (figures.original.wer[language], figures.baseline.wer[language], wer)
        table.add_row(marked(language, figures.watched, figures.marks), *map(numbers.percent_interval, wers))
    return table


def robustness_table(figures: RobustnessFigures) -> Table:
    """Return each measure of each language, in %, of original, baseline and the model to take."""
    table = plain_table(
        "measure", "language", "original", "baseline", "winner", text=("language",), wrapped=("measure",)
    )
    for title, language, values in figures.rows:
        table.add_row(title, language, *map(numbers.percent, values))
    return table


def change_table(figures: Comparison, candidate: str, claim: Claim | None = None) -> Table:
    """Return the candidate's changes of the rate with intervals, in points, a row for each language.

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
        cells = [marked(language, figures.watched, figures.marks), *map(numbers.change_interval, changes)]
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
    show_notes(figures.notes)
