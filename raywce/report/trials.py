"""The trainings as points with their figures, the best of the search first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from raywce.report.figures import TrialPoint
from raywce.report.run import Run
from raywce.selection.trials import BASELINE, COMPLETE, CONFIRM, SEARCH, values_of
from raywce.trial_report import Report


def trial_points(run: Run) -> list[TrialPoint]:
    """Return all trainings: the search's completed ones by feasibility and WER, its others, baseline, confirm runs."""
    pareto = {trial_id for one in run.outcome.pareto for trial_id in one.trial_id.split(", ")} if run.outcome else set()
    searched = [_point(run, trial_id, pareto) for trial_id in run.table.trial_ids(SEARCH)]
    others = [_point(run, trial_id, set()) for phase in (BASELINE, CONFIRM) for trial_id in run.table.trial_ids(phase)]
    return sorted(searched, key=_rank) + others


def ranked(points: Sequence[TrialPoint]) -> list[TrialPoint]:
    """Return the completed trials of the search, best first."""
    return [point for point in points if point.phase == SEARCH and point.state == COMPLETE]


def _rank(point: TrialPoint) -> tuple[Any, ...]:
    is_done = point.state == COMPLETE
    return (
        not is_done,
        not point.feasible,
        point.objective if point.objective is not None else math.inf,
        point.trial_id,
    )


def _point(run: Run, trial_id: str, pareto: set[str]) -> TrialPoint:
    rows, languages = run.table.of(trial_id), run.experiment.languages
    last = rows[-1]
    evaluated = [report for report in map(Report.of, rows) if report.wer and report.step != 0]
    report = evaluated[-1] if evaluated else Report()
    wer = {language: report.wer.get(language) for language in languages.all}
    return TrialPoint(
        phase=last["phase"],
        trial_id=trial_id,
        seed=last["seed"],
        state=last["state"],
        step=last["step"],
        feasible=report.feasible,
        objective=_mean(wer, languages.low_resource),
        worst_change=_worst_change(run, wer),
        in_pareto_set=trial_id in pareto,
        values=values_of(last),
        wer=wer,
        time_s=last.get("time_s"),
        reason=last.get("reason"),
    )


def _mean(wer: Mapping[str, float | None], languages: Sequence[str]) -> float | None:
    known = [value for language in languages if (value := wer[language]) is not None]
    return sum(known) / len(known) if len(known) == len(languages) else None


def _worst_change(run: Run, wer: Mapping[str, float | None]) -> float | None:
    """Return the largest change of a high-resource WER from the baseline's end, in points."""
    if run.outcome is None:
        return None
    baseline = run.outcome.references.baseline
    high_resource = run.experiment.languages.high_resource
    changes = [100 * (value - baseline[name]) for name in high_resource if (value := wer[name]) is not None]
    return max(changes) if high_resource and len(changes) == len(high_resource) else None
