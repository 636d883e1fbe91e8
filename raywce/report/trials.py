"""The trainings as points with their figures, the best of the search first, and curves of some over their steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from raywce.report.figures import AlphaCurve, Curve, StepReport, TrialPoint
from raywce.report.run import Run
from raywce.selection.objective import Objective
from raywce.selection.trials import BASELINE, COMPLETE, CONFIRM, PHASES, SEARCH, values_of
from raywce.trial_report import Report
from raywce.weighting import AlphaSchedule

_MOST_REPORTS = 60  # without an evaluation, of a training
_DIGITS = 9  # of a step: what floating point adds is cut off


def trial_points(run: Run) -> list[TrialPoint]:
    """Return all trainings: the search's completed ones, best first, its others, the baseline's, confirm runs."""
    pareto = {trial_id for one in run.outcome.pareto for trial_id in one.trial_ids} if run.outcome else set()
    points = {phase: [_point(run, one, pareto) for one in run.table.trial_ids(phase)] for phase in PHASES}
    return sorted(points[SEARCH], key=_rank) + points[BASELINE] + points[CONFIRM]


def ranked(points: Sequence[TrialPoint]) -> list[TrialPoint]:
    """Return the completed trials of the search, best first."""
    return [point for point in points if point.phase == SEARCH and point.state == COMPLETE]


def alpha_curves(run: Run, trials: Sequence[TrialPoint]) -> list[AlphaCurve]:
    """Return the schedule of each trial and low-resource language."""
    found = []
    for trial in trials:
        experiment = run.file.at(trial.values)
        last = experiment.training.steps
        for language, schedule in experiment.schedules().items():
            steps = _turns(schedule, last)
            alpha = [schedule.alpha(step, last) for step in steps]
            found.append(AlphaCurve(trial.trial_id, language, schedule.adaptive, steps, alpha))
    return found


def curve(run: Run, trial_id: str) -> Curve:
    """Return the reports of a training."""
    metrics = run.experiment.metrics
    reports = [Report.of(row) for row in run.table.of(trial_id) if row["step"] is not None]
    others = [report for report in reports if not report.rates]
    kept = others[:: math.ceil(len(others) / _MOST_REPORTS) or 1]
    shown = sorted([*kept, *(report for report in reports if report.rates)], key=lambda report: report.step)
    steps = [StepReport(one.step, metrics.deciding(one.rates), one.loss, one.alpha) for one in shown]
    return Curve(trial_id, steps, len(others) - len(kept))


def _turns(schedule: AlphaSchedule, last: int) -> list[int]:
    """Return the steps between which the schedule is linear: its ends, and both sides of the ramp's ends."""
    end = schedule.ramp_start + schedule.ramp_fraction * (1 - schedule.ramp_start)
    first = [math.ceil(round(share * last, _DIGITS)) for share in (schedule.ramp_start, end)]
    corners = [step + side for step in first for side in (-1, 0)]
    return sorted({0, last, *(step for step in corners if 0 <= step <= last)})


def _rank(point: TrialPoint) -> tuple[bool, bool, float, str]:
    objective = math.inf if point.objective is None else point.objective
    return point.state != COMPLETE, not point.feasible, objective, point.trial_id


def _point(run: Run, trial_id: str, pareto: set[str]) -> TrialPoint:
    rows, languages = run.table.of(trial_id), run.experiment.languages
    last = rows[-1]
    evaluated = [report for report in map(Report.of, rows) if report.rates and report.step != 0]
    report = evaluated[-1] if evaluated else Report()
    rates = run.experiment.metrics.deciding(report.rates)
    return TrialPoint(
        phase=last["phase"],
        trial_id=trial_id,
        seed=last["seed"],
        state=last["state"],
        step=last["step"],
        feasible=report.feasible,
        objective=_objective(run, rates),
        worst_change=None if last["phase"] == CONFIRM else _worst_change(run, rates),  # of other speech
        in_pareto_set=trial_id in pareto,
        values=values_of(last),
        wer={language: rates.get(language) for language in languages.decoded},
        time_s=last.get("time_s"),
        reason=last.get("reason"),
    )


def _objective(run: Run, rates: Mapping[str, float]) -> float | None:
    """Return the objective; None without all rates, or without the baseline's where it is relative to them."""
    relative = run.experiment.metrics.is_relative
    if not rates.keys() >= set(run.experiment.languages.low_resource) or (relative and run.outcome is None):
        return None
    baseline = run.outcome.references.baseline if run.outcome else {}
    return Objective.of(run.experiment, baseline).value(rates)


def _worst_change(run: Run, wer: Mapping[str, float]) -> float | None:
    """Return the largest change of a rate that has a limit from the baseline's end, in points."""
    languages = run.experiment.limited_languages
    if run.outcome is None or not wer.keys() >= set(languages):
        return None
    baseline = run.outcome.references.baseline
    return max((100 * (wer[language] - baseline[language]) for language in languages), default=None)
