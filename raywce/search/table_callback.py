"""Tune callback that keeps the table and the screen up to date while a phase runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optuna.distributions import BaseDistribution
from ray.tune import Callback

from raywce.experiment.schema import Experiment
from raywce.runs.folder import RunFolder
from raywce.runs.tables import Trial, TrialTable, trial_schema
from raywce.screen.live import View, open_view
from raywce.screen.progress import Progress, TimeLimit, baseline_of
from raywce.screen.throttle import Throttle
from raywce.search.checkpoints import Sweeper
from raywce.search.clock import SearchClock
from raywce.search.driver import Run
from raywce.search.searcher import NEVER_EVALUATED
from raywce.selection.trials import BASELINE, COMPLETE, FAIL, PRUNED, RUNNING
from raywce.trial_report import OBJECTIVE, Report

_WRITE_S = 1.0


class TableCallback(Callback):
    """Writes `trials.parquet` after reports and changes of state, at most once a second, and shows both.

    The table is what an interrupted search is gone on with: what was not written yet when it was killed runs again.
    """

    def __init__(
        self,
        folder: RunFolder,
        phase: str,
        experiment: Experiment,
        space: dict[str, BaseDistribution],
        fixed: dict[str, Any],
        total: int,
        at_once: Callable[[], int],
        sweeper: Sweeper,
        clock: SearchClock | None = None,
    ) -> None:
        """Say what is written where.

        Args:
            experiment: the file's, for languages and seed.
            space: the searched leaves.
            fixed: the values of the searched leaves that the baseline has.
            total: how many trials the phase has.
            at_once: gives how many of them can run at the same time.
            sweeper: removes what ended trials no longer need, once the table has their end.
            clock: kept with the table.
        """
        self.folder, self.phase, self.experiment, self.space, self.fixed = folder, phase, experiment, space, fixed
        self._total, self._at_once, self._sweeper, self._clock = total, at_once, sweeper, clock
        self._table: TrialTable | None = None
        self._view: View | None = None
        self._progress: Progress | None = None
        self._throttle = Throttle(_WRITE_S)
        self._is_written = True

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_table": None, "_view": None, "_progress": None}

    def setup(self, **_: Any) -> None:
        """Open table and screen."""
        self._throttle = Throttle(_WRITE_S)  # the clock of another process says nothing
        self._table = TrialTable.open(self.folder, schema_of(self.experiment, self.space))
        self._progress = self._begun()
        self._view = open_view(self.experiment, list(self.space), self._progress)

    @property
    def table(self) -> TrialTable:
        """The table."""
        assert self._table is not None, "Tune calls setup first"
        return self._table

    @property
    def view(self) -> View:
        """The screen."""
        assert self._view is not None, "Tune calls setup first"
        return self._view

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial began, or began again."""
        self.table.finish(self._trial(trial), RUNNING)
        self._show(trial)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A report came."""
        report = Report.of(result)
        if report.storage_failure:
            raise OSError(report.storage_failure)
        if report.failure:
            return
        self.table.record(self._trial(trial), report)
        self._show(trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial ended by itself, well or with a reason, or Tune stopped it."""
        last = Report.of(trial.last_result or {})
        reason = last.failure
        if not (reason or last.final or self._is_evaluated(trial)):
            reason = NEVER_EVALUATED
        self._end(trial, FAIL if reason else COMPLETE if last.final else PRUNED, reason)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial's driver died, or raised what it should not."""
        lines = str(trial.get_error() or "the driver was lost").strip().splitlines()
        self._end(trial, FAIL, lines[-1])

    def on_experiment_end(self, trials: list[Any], **_: Any) -> None:
        """The phase is through, or was interrupted."""
        self._write()
        self.view.close()

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Tune has handled what came in."""
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

    def _end(self, trial: Any, state: str, reason: str | None) -> None:
        self.table.finish(self._trial(trial), state, reason)
        self._show(trial)

    def _is_evaluated(self, trial: Any) -> bool:
        return any(row.get(OBJECTIVE) is not None for row in self.table.of(Run.of(trial.config).trial_id))

    def _show(self, trial: Any) -> None:
        self._is_written = False
        rows = self.table.of(Run.of(trial.config).trial_id)
        assert self._progress is not None, "Tune calls setup first"
        self._progress.see(rows)
        self.view.show(rows)

    def _begun(self) -> Progress:
        """How far the phase is by the table."""
        low_resource, clock = self.experiment.languages.low_resource, self._clock
        limit = None
        if clock and clock.limit_s is not None:
            limit = TimeLimit(clock.seconds_left, self.experiment.search.at_time_limit == "stop")
        baseline = None if self.phase == BASELINE else baseline_of(self.table, low_resource)
        progress = Progress(self.phase, self._total, self._at_once, baseline, limit)
        for rows in map(self.table.of, self.table.trial_ids(self.phase)):
            if rows[-1]["state"] != RUNNING:  # the others begin again
                progress.see(rows)
        return progress

    def _trial(self, trial: Any) -> Trial:
        run = Run.of(trial.config)
        values = self.fixed if run.values is None else run.values
        return Trial(self.phase, run.trial_id, self.experiment.training.seed + run.seed_index, values, run.candidate)


def schema_of(experiment: Experiment, space: dict[str, BaseDistribution]) -> Any:
    """The table's columns for an experiment."""
    return trial_schema(space, experiment.languages.low_resource, experiment.languages.high_resource)
