"""The finding in a sentence or two, with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from raywce import numbers
from raywce.report.figures import WerTable
from raywce.report.run import Run
from raywce.screen.confirmation import finding as confirmed_finding
from raywce.selection.outcome import SearchOutcome


def finding(run: Run, tables: Sequence[WerTable]) -> str:
    """Return the outcome of the run in a sentence or two."""
    return numbers.with_minus(_finding(run, tables))


def _finding(run: Run, tables: Sequence[WerTable]) -> str:
    outcome = run.outcome
    if outcome is None:
        return f"There is no finding yet: {run.why_no_outcome}."
    if outcome.confirmation:
        confirmed = confirmed_finding(outcome.confirmation)
        has_more = outcome.confirmation.choice.winner is None and outcome.confirmation.choice.claims
        return f"{confirmed} It {_change(run, tables[0])}." if has_more else confirmed
    begun = "" if run.finished else f"The search is not finished ({outcome.trials} of {run.file.trials} trials). "
    return begun + _of_search(run, outcome, tables[0])


def _of_search(run: Run, outcome: SearchOutcome, table: WerTable) -> str:
    change = _change(run, table)
    if outcome.best is None:
        assert outcome.nearest is not None
        worst = outcome.nearest.worst
        by = f"{worst[0]} is {numbers.distance(worst[1])} points above its limit" if worst else "it has no figures"
        return f"Nothing feasible: in the nearest trial, {outcome.nearest.trial_id}, {by}. It {change}."
    name = outcome.best.trial_id
    caution = "It was chosen by these figures; no confirm phase has tested it on other speech."
    if outcome.better:
        return f"The best feasible trial, {name}, {change}. {caution}"
    return f"No feasible trial beats the baseline: the best one, {name}, {change}."


def _change(run: Run, table: WerTable) -> str:
    gain = table.gain
    assert gain is not None
    languages = " and ".join(run.experiment.languages.low_resource)
    verb = "lowers" if gain.value < 0 else "raises"
    text = f"{verb} the WER of {languages} by {numbers.distance(100 * gain.value)} points"
    text = text if gain.value else f"leaves the WER of {languages} as it is"
    if gain.low is None or gain.high is None:
        return f"{text} compared with the baseline"
    level = numbers.confidence(run.experiment.search.confirm.confidence)
    bounds = numbers.change_bounds(gain.low, gain.high)
    return f"{text} compared with the baseline ({level} % interval of the change: {bounds})"
