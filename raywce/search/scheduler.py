"""Successive halving that knows the constraints: a feasible trial always outranks an infeasible one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from raywce.selection.trials import Row
from raywce.trial_report import OBJECTIVE, STEP, Flat, Report

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

_INFEASIBLE = 1.0  # every feasible trial's rank is below


def rank(report: Report) -> float | None:
    """Return where a report's trial stands among others at the same step, lower is better; None without an evaluation.

    Feasible trials lie in [0, 1), by their objective (a fraction >= 0 that may pass 1); infeasible ones
    at 1 and above, by their largest violation, in points.
    """
    objective, violation = report.objective, report.violation
    if report.failure or objective is None or math.isnan(objective):
        return None
    if report.feasible:
        return float(objective / (1.0 + objective))
    if violation is None or math.isnan(violation):
        return None
    return _INFEASIBLE + max(0.0, float(violation))


class FeasibleFirstASHA(AsyncHyperBandScheduler):
    """Tune's asynchronous successive halving by `rank`, on the training step.

    A trial that comes to a rung continues if it is among the best 1 / `reduction_factor` of those that came there
    before. Reports without an evaluation stop nothing, and neither does the last one: the training is over then, and
    to be stopped would only take the driver away from what it has left to do.
    """

    def __init__(
        self,
        rungs: Sequence[int],
        steps: int,
        reduction_factor: float,
        earlier: Iterable[Row] = (),
    ) -> None:
        """Set the rungs up.

        Args:
            rungs: of `raywce.experiment.rungs`, at least one; Tune places the others as it does from the first.
            steps: of a whole training.
            reduction_factor: one in this many continues.
            earlier: rows of `trials.parquet`, of a search that is resumed; they are put on the rungs again.
        """
        super().__init__(
            time_attr=STEP,
            metric=OBJECTIVE,
            mode="min",
            max_t=steps,
            grace_period=rungs[0],
            reduction_factor=reduction_factor,
            stop_last_trials=False,
        )
        for row in earlier:
            trial = SimpleNamespace(config={"trial_id": row["trial_id"]})
            self.on_trial_add(None, trial)
            self.on_trial_result(None, trial, row)

    def on_trial_add(self, tune_controller: TuneController | None, trial: Trial) -> None:
        """Add a trial, perhaps from an earlier run."""
        super().on_trial_add(tune_controller, _named(trial))

    def on_trial_result(self, tune_controller: TuneController | None, trial: Trial, result: Flat) -> str:
        """Return whether the trial continues, or is stopped."""
        report = Report.of(result)
        value = rank(report)
        if value is None or report.final:
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, _named(trial), {STEP: report.step, OBJECTIVE: value}))

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: Flat) -> None:
        """Remove the trial; its figures stay on the rungs."""
        self.on_trial_remove(tune_controller, trial)

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """Remove the trial."""
        super().on_trial_remove(tune_controller, _named(trial))


def _named(trial: Trial) -> SimpleNamespace:
    """Return the trial by its id in the table, in place of Tune's own."""
    return SimpleNamespace(trial_id=trial.config["trial_id"])
