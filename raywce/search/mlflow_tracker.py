"""MLflow: a run for each trial, with its figures by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ray.air.integrations.mlflow import MLflowLoggerCallback

from raywce.search.trackers import Service, figures, has_failed, hyperparameters
from raywce.trial_report import STEP, Flat

if TYPE_CHECKING:
    from ray.tune.experiment import Trial


class MLflow(Service, MLflowLoggerCallback):  # type: ignore[misc]
    """A run for each trial, named by its id; a server that fails ends the tracking, never the search."""

    def __init__(self, tracking_uri: str, experiment: str, phase: str) -> None:
        super().__init__(tracking_uri, experiment_name=experiment, tags={"phase": phase})
        self.title = f"MLflow at {tracking_uri}"

    def setup(self, *args: object, **kwargs: object) -> None:
        """Find or make the experiment."""
        self._trial_runs: dict[Trial, str] = {}
        self._safely(super().setup, *args, **kwargs)

    def log_trial_start(self, trial: Trial) -> None:
        """Begin a run."""
        self._safely(self._start, trial)

    def log_trial_result(self, iteration: int, trial: Trial, result: Flat) -> None:
        """Write a report's figures at its step."""
        run_id = self._trial_runs.get(trial)
        self._safely(self.mlflow_util.log_metrics, result[STEP], figures(result), run_id=run_id)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """End the run; a trial that reported why it failed has failed."""
        status = "FAILED" if has_failed(trial, failed) else "FINISHED"
        self._safely(self.mlflow_util.end_run, status=status, run_id=self._trial_runs.get(trial))

    def _start(self, trial: Trial) -> None:
        if trial not in self._trial_runs:
            run = self.mlflow_util.start_run(tags=self.tags, run_name=str(trial))
            self._trial_runs[trial] = run.info.run_id
            self.mlflow_util.log_params(hyperparameters(trial), run_id=run.info.run_id)
