"""Successive halving that knows the constraints: a feasible trial always outranks an infeasible one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from raywce.trial_report import OBJECTIVE, STEP, Report

_INFEASIBLE = 1.0  # every feasible trial's rank is below


def rank(report: Report) -> float | None:
    """Return where a report's trial stands among others at the same step, lower is better; None without an evaluation.

    Feasible trials lie in [0, 1), by their objective (a mean WER, a fraction >= 0 that may pass 1); infeasible ones
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

    A trial that comes to a rung goes on if it is among the best 1 / `reduction_factor` of those that came there
    before. Reports without an evaluation stop nothing, and neither does the last one: the training is over then, and
    to be stopped would only take the driver away from what it has left to do.
    """

    def __init__(
        self,
        rungs: Sequence[int],
        steps: int,
        reduction_factor: float,
        earlier: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """Set the rungs up.

        Args:
            rungs: of `raywce.experiment.rungs`, at least one; Tune places the others as it does from the first.
            steps: of a whole training.
            reduction_factor: one in this many goes on.
            earlier: rows of `trials.parquet`, of a search that is gone on with; they are put on the rungs again.
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

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial is known, perhaps from an earlier run."""
        super().on_trial_add(tune_controller, _Named(trial.config["trial_id"]))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        """Return whether the trial continues, or is stopped."""
        report = Report.of(result)
        value = rank(report)
        if value is None or report.final:
            return str(TrialScheduler.CONTINUE)
        trial_id = trial.config["trial_id"]
        return str(super().on_trial_result(tune_controller, _Named(trial_id), {STEP: report.step, OBJECTIVE: value}))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> None:
        """The trial ended; what it came to stays on the rungs."""
        self.on_trial_remove(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """The trial is no longer asked about."""
        super().on_trial_remove(tune_controller, _Named(trial.config["trial_id"]))


class _Named:
    """A trial by the id that the table knows it by, and not by Tune's own."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id
