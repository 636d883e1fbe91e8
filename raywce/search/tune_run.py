"""A phase's trials as one Ray Tune run."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import optuna
from ray import tune
from ray.exceptions import OutOfMemoryError
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback
from ray.tune.search import Searcher

from raywce.cluster.capacity import Room, driver_resources
from raywce.errors import RunFailed
from raywce.experiment.environment import MLFLOW_URI
from raywce.runs.folder import RunFolder
from raywce.runs.tables import TrialTable, write_utterances
from raywce.search.checkpoints import Sweeper
from raywce.search.clock import SearchClock, StopAtLimit
from raywce.search.driver import Driver, Run
from raywce.search.interrupts import signals_given_back
from raywce.search.placement_groups import PlacementGroupReaper
from raywce.search.scheduler import FeasibleFirstASHA
from raywce.search.table_callback import TableCallback
from raywce.search.trackers import TensorBoard
from raywce.search.within_room import RoomCallback, WithinRoom
from raywce.selection.trials import RUNNING
from raywce.trial_report import Flat

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from raywce.experiment.load import ExperimentFile
    from raywce.experiment.schema import Experiment

_KILLED = (
    "Ray killed a trial, as its node had hardly any memory left. Run the same command to resume. If it happens again, "
    "end what else runs there, or lower search.max_concurrent_trials, training.batch_size or evaluation.batch_size"
)


class TuneRuns:
    """Runs phases one after the other on a cluster, each with its trials in the run folder's table."""

    def __init__(self, file: ExperimentFile, folder: RunFolder, room: Room) -> None:
        self._file, self._folder, self._room = file, folder, room
        self._sweeper = Sweeper(folder, file.experiment.search.keep_models, file.experiment.search.sampler == "grid")

    def table(self) -> TrialTable:
        """Return the table as it is written."""
        return TrialTable.open(self._folder, self._file.space, self._file.experiment.languages)

    def run(
        self,
        phase: str,
        driver: Driver,
        searcher: Searcher,
        left: int,
        wanted: int,
        scheduler: FeasibleFirstASHA | None = None,
        clock: SearchClock | None = None,
    ) -> None:
        """Run the trials of a phase that are left of those wanted.

        Args:
            phase: its name, which is the Tune run's too.
            driver: runs one trial.
            searcher: suggests the trials.
            left: how many it is asked for.
            wanted: how many the phase has in all.
            scheduler: prunes; None: each trial has its full length.
            clock: of a search with a time limit.

        Raises:
            RunFailed: it was interrupted, or Ray killed a trial as memory ran out.
        """

        def raywce_trial(config: Flat) -> None:
            # So long the next trial in this process waits for a stopped one to end; Tune would lose it after 2 s, and
            # the search would wait for it.
            os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "600")
            driver(config)

        trainable = tune.with_resources(raywce_trial, driver_resources(self._file.experiment.resources))
        with self._room.wanted(left), signals_given_back() as interrupted:
            if clock:
                clock.start()
            within_room = WithinRoom(searcher, self._room.holds, interrupted)
            # Not Tune's own restore: its state may be older than the table, or torn where the storage was full.
            config = tune.TuneConfig(
                search_alg=within_room,
                scheduler=scheduler,
                num_samples=left,
                reuse_actors=self._file.experiment.resources.alone,  # its imports take seconds
                trial_name_creator=_trial_id,
                trial_dirname_creator=_trial_id,
            )
            run_config = self._run_config(phase, wanted, clock, RoomCallback(within_room))
            tuner = tune.Tuner(trainable, tune_config=config, run_config=run_config)
            try:
                tuner.fit()
            except RuntimeError as error:
                # Ray kills a process where its node's memory runs out; Tune takes that for an error of its own.
                if not isinstance(error.__cause__, OutOfMemoryError):
                    raise
                raise RunFailed(f"{_KILLED} ({self._folder.uri})") from error
            was_interrupted = interrupted()
        table = self.table()
        states = [row["state"] for row in table.last_rows(phase)]
        write_utterances(self._folder, table)
        self._sweeper.sweep_all(table)
        is_over = clock is not None and clock.is_over()
        if (len(states) < wanted and not is_over) or RUNNING in states or was_interrupted:
            raise RunFailed(f"interrupted in phase {phase}; run the same command to resume ({self._folder.uri})")

    def _run_config(self, phase: str, total: int, clock: SearchClock | None, room: RoomCallback) -> tune.RunConfig:
        experiment = self._file.experiment
        table = TableCallback(self._folder, phase, self._file, total, self._room.fits, self._sweeper, clock)
        trackers = _trackers(experiment, phase, self._folder)
        loggers = [CSVLoggerCallback(), JsonLoggerCallback(), *trackers]
        stop = StopAtLimit(clock) if clock and experiment.search.at_time_limit == "stop" else None
        # Ray Train starts lost workers of its own again; a trial's only worker is Tune's.
        again = experiment.training.max_failures if experiment.resources.alone else 0
        failures = tune.FailureConfig(max_failures=again)
        return tune.RunConfig(
            name=phase,
            storage_path=self._folder.uri,
            verbose=0,
            callbacks=[room, table, *loggers, PlacementGroupReaper()],
            stop=stop,
            failure_config=failures,
        )


def _trackers(experiment: Experiment, phase: str, folder: RunFolder) -> list[tune.Callback]:
    """Return the callbacks of `search.trackers`; the import of each takes a second."""
    found: list[tune.Callback] = []
    for name in dict.fromkeys(experiment.search.trackers):
        if name == "tensorboard":
            found.append(TensorBoard())
        elif name == "mlflow":
            from raywce.search.mlflow_tracker import MLflow

            found.append(MLflow(os.environ[MLFLOW_URI], experiment.name, phase))
        else:
            os.environ.setdefault("WANDB_LOGIN_TIMEOUT", "60")  # it asks for a key, and the search would wait
            from raywce.search.wandb_tracker import Wandb

            found.append(Wandb(experiment.name, phase, folder))
    return found


def quiet() -> None:
    """Keep the libraries' notices off the progress table; their warnings and errors stay."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # TensorBoard's, which search.trackers asks for
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("ray.tune").setLevel(logging.WARNING)
    # When interrupted, it says how to restore a Tune run of one's own; here the same command resumes.
    logging.getLogger("ray.tune.tune").setLevel(logging.ERROR)
    # Its own state, from which nothing is resumed, may be lost with the storage.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    logging.getLogger("ray.train._internal.syncer").setLevel(logging.CRITICAL)  # with a traceback
    # While the storage is away, it prints the traceback of each folder of that state that it can't make.
    logging.getLogger("ray.train._internal.storage").setLevel(logging.CRITICAL)
    # After a restore it misses the logs of trials that were made again; the table has them.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)


def _trial_id(trial: Trial) -> str:
    return Run.of(trial.config).trial_id
