"""TensorBoard, and the input of every tracker: a trial's figures by step, and its hyperparameters."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ray.tune.logger import TBXLoggerCallback

from raywce.errors import one_line
from raywce.experiment.space import Scalar
from raywce.search.driver import Run
from raywce.trial_report import OBJECTIVE, STEP, Flat, Report

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

_logger = logging.getLogger(__name__)
_KINDS = ("loss", "alpha", "wer", "cer", "violation")


def figures(result: Flat) -> dict[str, float]:
    """Return the figures that get a curve: `wer/gl`, `alpha/gl`, `loss/es`, … and the objective."""
    names = [name for name in result if name == OBJECTIVE or name.partition("/")[0] in _KINDS]
    return {name: float(result[name]) for name in names if result[name] is not None}


def hyperparameters(trial: Trial) -> dict[str, Scalar]:
    """Return the searched leaves by key path, and the seed's index; of a baseline, the index alone."""
    run = Run.of(trial.config)
    values = {path: str(value) if value is None else value for path, value in (run.values or {}).items()}
    return {**values, "seed_index": run.seed_index}


def has_failed(trial: Trial, failed: bool) -> bool:
    """Return whether a trial failed: by Tune, or by its own last report."""
    return failed or bool(Report.of(trial.last_result or {}).failure)


class Service:
    """A tracker outside of the run folder: where it fails, the tracking ends, never the search.

    Attributes:
        title: what a warning calls it.
    """

    title = ""
    _is_lost = False

    def _safely(self, call: Callable[..., object], *args: object, **kwargs: object) -> None:
        """Call it, but never after a failure."""
        if self._is_lost:
            return
        try:
            call(*args, **kwargs)
        except Exception as error:
            self._is_lost = True
            _logger.warning("%s refuses the figures; the search continues: %s", self.title, one_line(error))


class TensorBoard(TBXLoggerCallback):  # type: ignore[misc]
    """Event files in the trials' folders, in place of Tune's own, which number a trial's reports."""

    def log_trial_result(self, iteration: int, trial: Trial, result: Flat) -> None:
        """Write a report's figures at its step."""
        if trial not in self._trial_writer:
            self.log_trial_start(trial)
        found = figures(result)
        for name, value in found.items():
            self._trial_writer[trial].add_scalar(name, value, global_step=result[STEP])
        self._trial_writer[trial].flush()
        self._trial_result[trial].update(found)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Write the hyperparameters beside the last figures."""
        from tensorboardX.summary import hparams

        if trial not in self._trial_writer:
            return
        writer = self._trial_writer.pop(trial)
        for summary in hparams(hyperparameters(trial), self._trial_result.pop(trial)):
            writer.file_writer.add_summary(summary)
        writer.close()
