"""The best trials over their steps: the scheduled alpha, and what their trainings reported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from raywce.report.figures import AlphaCurve, Curve, StepReport, TrialPoint
from raywce.report.run import Run
from raywce.search.tables import as_drawn
from raywce.weighting import AlphaSchedule

_MOST_REPORTS = 60  # without an evaluation, of a training


def alpha_curves(run: Run, trials: Sequence[TrialPoint]) -> list[AlphaCurve]:
    """The schedule of each trial and low-resource language."""
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
    """What some trainings reported."""
    return [_curve(run, trial_id) for trial_id in trial_ids]


def _turns(schedule: AlphaSchedule, last: int) -> list[int]:
    """Steps between which the schedule is straight: the ends, and both sides of the ramp's ends."""
    end = schedule.ramp_start + schedule.ramp_fraction * (1 - schedule.ramp_start)
    corners = [math.ceil(share * last) + side for share in (schedule.ramp_start, end) for side in (-1, 0)]
    return sorted({0, last, *(step for step in corners if 0 <= step <= last)})


def _curve(run: Run, trial_id: str) -> Curve:
    rows = [row for row in run.table.of(trial_id) if row["step"] is not None]
    evaluated = [row for row in rows if _by_language(row, "wer")]
    others = [row for row in rows if not _by_language(row, "wer")]
    kept = others[:: math.ceil(len(others) / _MOST_REPORTS) or 1]
    shown = sorted([*evaluated, *kept], key=lambda row: int(row["step"]))
    return Curve(trial_id, [_report(row) for row in shown], len(others) - len(kept))


def _report(row: Mapping[str, Any]) -> StepReport:
    return StepReport(row["step"], *(_by_language(row, name) for name in ("wer", "loss", "alpha")))


def _by_language(row: Mapping[str, Any], name: str) -> dict[str, float]:
    cells = ((key.removeprefix(f"{name}/"), value) for key, value in row.items() if key.startswith(f"{name}/"))
    return {language: value for language, value in cells if value is not None}
