"""Tune callback that keeps the table and the screen up to date while a phase runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ray.tune import Callback

from raywce.experiment.checks import OF_BASELINE
from raywce.experiment.space import Scalar
from raywce.runs.folder import RunFolder
from raywce.runs.tables import Trial, TrialTable
from raywce.screen.live import open_view
from raywce.screen.progress import Progress, TimeLimit, baseline_of
from raywce.screen.throttle import Throttle
from raywce.search.checkpoints import Sweeper
from raywce.search.clock import SearchClock
from raywce.search.driver import Run
from raywce.search.searcher import NEVER_EVALUATED
from raywce.selection.trials import COMPLETE, FAIL, PRUNED, RUNNING, SEARCH, Row
from raywce.trial_report import OBJECTIVE, Flat, Report

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as TuneTrial

    from raywce.experiment.load import ExperimentFile

_WRITE_S = 1.0


class TableCallback(Callback):
    """Writes `trials.parquet` after reports and changes of state, at most once a second, and shows both.

    An interrupted search is resumed from the table: what was not written yet when it was killed runs again.
    """

    def __init__(
        self,
        folder: RunFolder,
        phase: str,
        file: ExperimentFile,
        total: int,
        at_once: Callable[[], int],
        sweeper: Sweeper,
        clock: SearchClock | None = None,
    ) -> None:
        """Set what is written where.

        Args:
            folder: of the run.
            phase: whose trials they are.
            file: the experiment with its distributions.
            total: how many trials the phase has.
            at_once: gives how many of them can run at the same time.
            sweeper: removes what ended trials no longer need, once the table has their end.
            clock: kept with the table.
        """
        self.folder, self.phase, self.file = folder, phase, file
        self._fixed = _fixed(file)
        self._total, self._at_once, self._sweeper, self._clock = total, at_once, sweeper, clock
        self._is_written = True

    def __getstate__(self) -> dict[str, object]:
        from_setup = ("table", "view", "_progress", "_throttle")
        return {name: value for name, value in vars(self).items() if name not in from_setup}

    def setup(self, **_: object) -> None:
        """Open table and screen."""
        experiment, space = self.file.experiment, self.file.space
        self._throttle = Throttle(_WRITE_S)
        self.table = TrialTable.open(self.folder, space, experiment.languages)
        self._progress = self._begun()
        self.view = open_view(experiment, list(space), self._progress)

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: object) -> None:
        """Record that a trial began, or began again."""
        self.table.finish(self._trial(trial), RUNNING)
        self._show(trial)

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: Flat, **_: object
    ) -> None:
        """Record a report."""
        report = Report.of(result)
        if report.storage_failure:
            raise OSError(report.storage_failure)
        if report.failure:
            return
        self.table.record(self._trial(trial), replace(report, restarts=report.restarts + trial.num_failures))
        self._show(trial)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: object) -> None:
        """Record how a trial ended by itself, or that Tune stopped it."""
        last = Report.of(trial.last_result or {})
        reason = last.failure
        if not (reason or last.final or any(row.get(OBJECTIVE) is not None for row in self._rows(trial))):
            reason = NEVER_EVALUATED
        self._end(trial, FAIL if reason else COMPLETE if last.final else PRUNED, reason)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: object) -> None:
        """Record that a trial's driver died, or raised an unexpected error."""
        lines = str(trial.get_error() or "the driver was lost").strip().splitlines()
        self._end(trial, FAIL, lines[-1])

    def on_experiment_end(self, trials: list[TuneTrial], **_: object) -> None:
        """Write the table and close the screen: the phase is finished, or was interrupted."""
        self._write()
        self.view.close()

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **_: object) -> None:
        """Write the table where that is due, and update the screen."""
        if not self._is_written and self._throttle.is_due():
            self._write()
        self.view.tick()

    def _write(self) -> None:
        with self._throttle:
            self.table.write(self.folder)
            self._sweeper.sweep(self.table)
            if self._clock:
                self._clock.save()
        self._is_written = True

    def _end(self, trial: TuneTrial, state: str, reason: str | None) -> None:
        self.table.finish(self._trial(trial), state, reason)
        self._show(trial)

    def _rows(self, trial: TuneTrial) -> list[Row]:
        return self.table.of(Run.of(trial.config).trial_id)

    def _show(self, trial: TuneTrial) -> None:
        self._is_written = False
        rows = self._rows(trial)
        self._progress.see(rows)
        self.view.show(rows)

    def _begun(self) -> Progress:
        """Return how far the phase is by the table."""
        experiment, clock = self.file.experiment, self._clock
        limit = None
        if clock and clock.limit_s is not None:
            limit = TimeLimit(clock.seconds_left, experiment.search.at_time_limit == "stop")
        baseline = baseline_of(self.table, experiment) if self.phase == SEARCH else None  # confirm: of other speech
        label = experiment.metrics.objective_label
        progress = Progress(self.phase, self._total, self._at_once, label, baseline, limit)
        for rows in self.table.of_phase(self.phase).values():
            if rows[-1]["state"] != RUNNING:  # the others begin again
                progress.see(rows)
        return progress

    def _trial(self, trial: TuneTrial) -> Trial:
        run = Run.of(trial.config)
        values = self._fixed if run.values is None else run.values
        seed = self.file.experiment.training.seed + run.seed_index
        return Trial(self.phase, run.trial_id, seed, values, run.candidate)


def _fixed(file: ExperimentFile) -> dict[str, Scalar]:
    """Return the baseline's values of the searched leaves; None for weighting and augmentation, which it is without."""
    given = file.experiment.search.baseline
    return {path: given.get(path) if path.startswith(OF_BASELINE) else None for path in file.leaves}
