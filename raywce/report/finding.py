"""The finding in a sentence or two, with its interval."""

from __future__ import annotations

import re
from collections.abc import Sequence

from raywce.report.figures import WerTable
from raywce.report.run import Run
from raywce.search.confirmation_view import finding as confirmed_finding
from raywce.search.outcome import SearchOutcome

_MINUS = re.compile(r"(?<!\w)-(?=\d)")


def finding(run: Run, tables: Sequence[WerTable]) -> str:
    """What the run came to, as plainly as its figures allow."""
    outcome = run.outcome
    if outcome is None:
        return f"There is no finding yet: {run.why_no_outcome}."
    if outcome.confirmation:
        confirmed = _MINUS.sub("−", confirmed_finding(outcome.confirmation))
        has_more = outcome.confirmation.choice.winner is None and outcome.confirmation.choice.claims
        return f"{confirmed} It {_change(run, tables[0])}." if has_more else confirmed
    begun = "" if run.finished else f"The search is not finished ({outcome.trials} of {run.file.trials} trials). "
    return begun + _of_search(run, outcome, tables[0])


def _of_search(run: Run, outcome: SearchOutcome, table: WerTable) -> str:
    change = _change(run, table)
    if outcome.best is None:
        assert outcome.nearest is not None
        worst = outcome.nearest.worst
        by = f"{worst[0]} is {worst[1]:.2f} points above its limit" if worst else "it has no figures"
        return f"Nothing feasible: in the nearest trial, {outcome.nearest.trial_id}, {by}. It {change}."
    name = outcome.best.trial_id
    caution = "It was chosen by these figures; no confirm phase has tested it on other speech."
    if outcome.better:
        return f"The best feasible trial, {name}, {change}. {caution}"
    return f"No feasible trial beats the baseline: the best one, {name}, {change}."


def _change(run: Run, table: WerTable) -> str:
    gain = table.gain
    assert gain is not None
    languages, points = " and ".join(run.experiment.languages.low_resource), 100 * abs(gain.value)
    verb = "lowers" if gain.value < 0 else "raises"
    text = (
        f"{verb} the WER of {languages} by {points:.2f} points" if points else f"leaves the WER of {languages} as it is"
    )
    if gain.low is None or gain.high is None:
        return f"{text} against the baseline"
    percent = f"{100 * run.experiment.search.confirm.confidence:g} %"
    return (
        f"{text} against the baseline ({percent} interval of the change: {_points(gain.low)} to {_points(gain.high)})"
    )


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.2f}".replace("-", "−")
