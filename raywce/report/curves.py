"""The best trials over their steps: the scheduled alpha and the reported figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from raywce.report.figures import AlphaCurve, Curve, StepReport, TrialPoint
from raywce.report.run import Run
from raywce.runs.tables import as_drawn
from raywce.trial_report import Report
from raywce.weighting import AlphaSchedule

_MOST_REPORTS = 60  # without an evaluation, of a training


def alpha_curves(run: Run, trials: Sequence[TrialPoint]) -> list[AlphaCurve]:
    """Return the schedule of each trial and low-resource language."""
    space = run.file.optuna_space
    found = []
    for trial in trials:
        experiment = run.file.at(as_drawn(trial.values, space))
        last = experiment.training.steps
        for language, schedule in experiment.schedules().items():
            steps = _turns(schedule, last)
            alpha = [schedule.alpha(step, last) for step in steps]
            found.append(AlphaCurve(trial.trial_id, language, schedule.adaptive, steps, alpha))
    return found


def curves(run: Run, trial_ids: Sequence[str]) -> list[Curve]:
    """Return the reports of some trainings."""
    return [_curve(run, trial_id) for trial_id in trial_ids]


def _turns(schedule: AlphaSchedule, last: int) -> list[int]:
    """Return the steps between which the schedule is linear: its ends, and both sides of the ramp's ends."""
    end = schedule.ramp_start + schedule.ramp_fraction * (1 - schedule.ramp_start)
    corners = [math.ceil(share * last) + side for share in (schedule.ramp_start, end) for side in (-1, 0)]
    return sorted({0, last, *(step for step in corners if 0 <= step <= last)})


def _curve(run: Run, trial_id: str) -> Curve:
    reports = [Report.of(row) for row in run.table.of(trial_id) if row["step"] is not None]
    evaluated = [report for report in reports if report.wer]
    others = [report for report in reports if not report.wer]
    kept = others[:: math.ceil(len(others) / _MOST_REPORTS) or 1]
    shown = sorted([*evaluated, *kept], key=lambda report: report.step)
    steps = [StepReport(report.step, dict(report.wer), dict(report.loss), dict(report.alpha)) for report in shown]
    return Curve(trial_id, steps, len(others) - len(kept))
