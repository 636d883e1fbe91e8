"""Trackers: each trial's figures by step for TensorBoard and, where the file asks for it, MLflow."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune import Callback
from ray.tune.logger import TBXLoggerCallback

from raywce.experiment.schema import Experiment
from raywce.search.driver import Run
from raywce.search.searcher import FAILURE, OBJECTIVE, STEP

_logger = logging.getLogger(__name__)
_KINDS = ("loss", "alpha", "wer", "cer", "violation")


def trackers(experiment: Experiment, phase: str) -> list[Callback]:
    """Tune's callbacks for one phase."""
    uri = experiment.search.mlflow
    return [TensorBoard(), *([] if uri is None else [MLflow(uri, experiment.name, phase)])]


def figures(report: Mapping[str, Any]) -> dict[str, float]:
    """What is worth a curve: `wer/gl`, `alpha/gl`, `loss/es`, … and the objective, as in `trials.parquet`."""
    names = [name for name in report if name == OBJECTIVE or name.partition("/")[0] in _KINDS]
    return {name: float(report[name]) for name in names if report[name] is not None}


def hyperparameters(trial: Any) -> dict[str, Any]:
    """The searched leaves by key path, and which seed it is; nothing but the seed for a baseline."""
    run = Run.of(trial.config)
    values = {path: str(value) if value is None else value for path, value in (run.values or {}).items()}
    return {**values, "seed_index": run.seed_index}


class TensorBoard(TBXLoggerCallback):  # type: ignore[misc]
    """Event files in the trials' folders, in place of Tune's own, which number a trial's reports."""

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Write a report's figures at its step."""
        if trial not in self._trial_writer:
            self.log_trial_start(trial)
        found = figures(result)
        for name, value in found.items():
            self._trial_writer[trial].add_scalar(name, value, global_step=result[STEP])
        self._trial_writer[trial].flush()
        self._trial_result[trial].update(found)

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """Write the hyperparameters beside the last figures."""
        from tensorboardX.summary import hparams

        if trial not in self._trial_writer:
            return
        writer = self._trial_writer.pop(trial)
        for summary in hparams(hyperparameters(trial), self._trial_result.pop(trial)):
            writer.file_writer.add_summary(summary)
        writer.close()


class MLflow(MLflowLoggerCallback):  # type: ignore[misc]
    """A run for each trial, named by its id; a server that fails ends the tracking, never the search."""

    def __init__(self, tracking_uri: str, experiment: str, phase: str) -> None:
        super().__init__(tracking_uri, experiment_name=experiment, tags={"phase": phase})
        self._is_lost = False

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Find or make the experiment."""
        self._trial_runs: dict[Any, str] = {}
        self._safely(super().setup, *args, **kwargs)

    def log_trial_start(self, trial: Any) -> None:
        """Begin a run."""
        self._safely(self._start, trial)

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Write a report's figures at its step."""
        run_id = self._trial_runs.get(trial)
        self._safely(self.mlflow_util.log_metrics, result[STEP], figures(result), run_id=run_id)

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """End the run; a trial that told why it failed has."""
        status = "FAILED" if failed or (trial.last_result or {}).get(FAILURE) else "FINISHED"
        self._safely(self.mlflow_util.end_run, status=status, run_id=self._trial_runs.get(trial))

    def _start(self, trial: Any) -> None:
        if trial not in self._trial_runs:
            run = self.mlflow_util.start_run(tags=self.tags, run_name=str(trial))
            self._trial_runs[trial] = run.info.run_id
            self.mlflow_util.log_params(hyperparameters(trial), run_id=run.info.run_id)

    def _safely(self, call: Any, *args: Any, **kwargs: Any) -> None:
        if self._is_lost:
            return
        try:
            call(*args, **kwargs)
        except Exception as error:
            self._is_lost = True
            reason = " ".join(str(error).split())
            _logger.warning("MLflow at %s does not take the figures; the search goes on: %s", self.tracking_uri, reason)
