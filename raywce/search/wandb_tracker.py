"""Weights & Biases: a run for each trial, with its figures by step."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import wandb
from ray.tune.logger import LoggerCallback

from raywce.runs.folder import RunFolder
from raywce.search.trackers import Service, figures, has_failed, hyperparameters
from raywce.trial_report import STEP, Flat

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

_KEY = "wandb.txt"


class Wandb(Service, LoggerCallback):  # type: ignore[misc]
    """A run for each trial, in a project named after the search; where it fails, the search continues without it.

    Ray's own callback starts a process for each trial; this one has all runs in the driver's.
    """

    def __init__(self, project: str, phase: str, folder: RunFolder) -> None:
        super().__init__()
        self._key = _key(folder)
        self.title, self._project, self._phase = "Weights & Biases", project, phase
        self._runs: dict[Trial, Any] = {}

    def log_trial_start(self, trial: Trial) -> None:
        """Begin a run; one of a search that is resumed continues."""
        self._safely(self._start, trial)

    def log_trial_result(self, iteration: int, trial: Trial, result: Flat) -> None:
        """Write a report's figures at its step."""
        self._safely(self._log, trial, result)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """End the run; a trial that reported why it failed has failed."""
        self._safely(self._end, trial, has_failed(trial, failed))

    def _start(self, trial: Trial) -> None:
        if trial not in self._runs:
            self._runs[trial] = wandb.init(
                project=self._project,
                group=self._phase,
                name=str(trial),
                id=f"{self._project}-{self._key}-{trial}",
                resume="allow",
                config=hyperparameters(trial),
                reinit="create_new",  # trials at once are runs at once
                settings=wandb.Settings(silent=True, console="off"),
            )

    def _log(self, trial: Trial, result: Flat) -> None:
        self._start(trial)
        self._runs[trial].log(figures(result), step=result[STEP])

    def _end(self, trial: Trial, failed: bool) -> None:
        if trial in self._runs:
            self._runs.pop(trial).finish(exit_code=int(failed))


def _key(folder: RunFolder) -> str:
    """Return what the ids of this search's runs have in common: another search of the same name has another."""
    if not folder.has(_KEY):
        folder.write_text(_KEY, secrets.token_hex(4))
    return folder.read_text(_KEY)
