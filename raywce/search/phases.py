"""The search: a baseline, then trials against it, each phase a Ray Tune run of its own in the run folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from ray import tune

from raywce.cluster import Cluster, check_resources, connect, local_resources, running_address, trials_at_once
from raywce.errors import RunFailed, fail
from raywce.experiment.schema import Experiment
from raywce.run_folder import EXPERIMENT, OUTCOME, TRIALS, UTTERANCES, RunFolder
from raywce.search.callback import TableCallback, schema_of
from raywce.search.choice import Choice, chosen
from raywce.search.constraints import limits
from raywce.search.driver import Driver, RunTrial
from raywce.search.outcome import References, SearchOutcome, outcome, references, references_on_the_way
from raywce.search.reaper import PlacementGroupReaper
from raywce.search.scheduler import FeasibleFirstASHA
from raywce.search.searcher import ConstrainedOptunaSearch, SamplerChoice
from raywce.search.tables import BASELINE, COMPLETE, RUNNING, SEARCH, TrialTable, rows_in, write_utterances
from raywce.search.view import show_line

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile

_STUDY = "optuna.journal"
# A driver waits for its workers: with a CPU of its own, drivers could take all, and no worker would ever start.
_DRIVER = {"cpu": 0, "node:__internal_head__": 0.001}


def is_finished(file: ExperimentFile, folder: RunFolder, resume: bool) -> bool:
    """Whether the folder holds this experiment's finished search; refuses a folder of another file.

    Raises:
        InputError: the folder was made from another file, or `resume` is asked for and there is nothing to resume.
    """
    folder.check(file.resolved_yaml())
    if resume and not folder.has(EXPERIMENT):
        fail("--resume", "there must be a search to resume", f"nothing at {folder.uri}", "Leave --resume out.")
    return folder.has(OUTCOME)


def run_search(file: ExperimentFile, storage: str | None = None, trial: RunTrial | None = None) -> SearchOutcome:
    """Run the phases that are not finished yet, and judge the result.

    Args:
        file: the experiment with its distributions.
        storage: path or URI under which the run folder is; None: the experiment's.
        trial: runs one trial; None: `raywce.training.trial.run_trial`.

    Raises:
        InputError: the folder holds another experiment, or the cluster is too small.
        RunFailed: the baseline or every trial failed, or the search was interrupted.
    """
    _quiet()
    folder = RunFolder.of(storage or file.experiment.storage, file.experiment.name)
    folder.check(file.resolved_yaml())
    if running_address() is None:
        check_resources(file.experiment, local_resources()).raise_any()
    with connect() as cluster:
        check_resources(file.experiment, cluster.resources, cluster.nodes).raise_any()
        folder.open(file.resolved_yaml())
        phases = _Phases(file, folder, cluster, trial or _run_trial())
        against = phases.baseline()
        show_line(str(phases.choice))
        phases.search(against)
        result = outcome(phases.table(), file.experiment, _tables(folder))
    folder.write_text(OUTCOME, result.to_json())
    return result


@dataclass(frozen=True)
class _Phases:
    file: ExperimentFile
    folder: RunFolder
    cluster: Cluster
    trial: RunTrial

    @property
    def experiment(self) -> Experiment:
        return self.file.experiment

    @property
    def space(self) -> dict[str, BaseDistribution]:
        return {path: distribution.to_optuna() for path, distribution in self.file.space.items()}

    @property
    def choice(self) -> Choice:
        return chosen(self.experiment, self.file.space)

    def table(self) -> TrialTable:
        return TrialTable.open(self.folder, schema_of(self.experiment, self.space))

    def baseline(self) -> References:
        """Run the seeds that are not complete; a trial's own folder lets it go on where it was."""
        table = self.table()
        seeds = range(self.experiment.search.baseline_seeds)
        left = [index for index in seeds if not _is_complete(table, _baseline_id(index))]
        if left:
            tuner = tune.Tuner(
                self._trainable(Driver(self.file, self.folder.path("trials"), self.trial)),
                param_space={"index": tune.grid_search(left), "trial_id": tune.sample_from(_baseline_trial_id)},
                tune_config=self._tune_config(max_concurrent_trials=self._at_once()),
                run_config=self._run_config(BASELINE),
            )
            self._fit(tuner, BASELINE, len(seeds))
        return references(self.table(), self.experiment)

    def search(self, against: References) -> None:
        """Run the trials that are left, where an earlier run stopped."""
        wanted = self.file.trials
        table = self.table()
        ended = [trial_id for trial_id in table.trial_ids(SEARCH) if table.of(trial_id)[-1]["state"] != RUNNING]
        if len(ended) >= wanted:
            return
        constraints = self.experiment.search.constraints
        on_the_way = references_on_the_way(table, self.experiment)
        driver = Driver(
            self.file,
            self.folder.path("trials"),
            self.trial,
            limits(constraints, against.limits),
            {step: limits(constraints, wers) for step, wers in on_the_way.items()},
        )
        trainable = self._trainable(driver)
        path = self.folder.path(SEARCH)
        if tune.Tuner.can_restore(path):
            tuner = tune.Tuner.restore(path, trainable)
        else:
            config = self._tune_config(
                search_alg=self._searcher(),
                scheduler=self._scheduler(),
                num_samples=wanted,
                max_concurrent_trials=self._at_once(),
            )
            tuner = tune.Tuner(trainable, tune_config=config, run_config=self._run_config(SEARCH))
        self._fit(tuner, SEARCH, wanted)

    def _fit(self, tuner: tune.Tuner, phase: str, wanted: int) -> None:
        tuner.fit()
        table = self.table()
        states = [table.of(trial_id)[-1]["state"] for trial_id in table.trial_ids(phase)]
        write_utterances(self.folder, table)
        if len(states) < wanted or RUNNING in states:
            raise RunFailed(f"interrupted in phase {phase}; the same command goes on from here ({self.folder.uri})")

    def _searcher(self) -> ConstrainedOptunaSearch:
        settings = self.experiment.search
        return ConstrainedOptunaSearch(
            self.space,
            constraints=self.experiment.languages.high_resource,
            sampler=SamplerChoice(self.choice.sampler, settings.seed),
            study_name=self.experiment.name,
            points=self.file.settings() if settings.sampler == "grid" else self.file.published_points(),
            seeds=settings.seeds,
            storage=_journal(self.folder),
        )

    def _scheduler(self) -> FeasibleFirstASHA | None:
        """None: each trial has its full length."""
        if not self.choice.rungs:
            return None
        factor = self.experiment.search.reduction_factor
        earlier = partial(rows_in, self.folder, SEARCH)
        return FeasibleFirstASHA(self.choice.rungs, self.experiment.training.steps, factor, earlier)

    def _at_once(self) -> int:
        holds = trials_at_once(self.experiment.resources, self.cluster.nodes)
        wanted = self.experiment.search.max_concurrent_trials
        return min(holds, wanted) if wanted else holds

    def _trainable(self, driver: Driver) -> Any:
        def raywce_trial(config: dict[str, Any]) -> None:
            driver(config)

        return tune.with_resources(raywce_trial, _DRIVER)

    def _tune_config(self, **settings: Any) -> tune.TuneConfig:
        return tune.TuneConfig(reuse_actors=False, trial_dirname_creator=_trial_id, **settings)

    def _run_config(self, phase: str) -> tune.RunConfig:
        table = TableCallback(self.folder, phase, self.experiment, self.space, self._fixed())
        callbacks = [table, PlacementGroupReaper()]
        return tune.RunConfig(name=phase, storage_path=self.folder.uri, verbose=0, callbacks=callbacks)

    def _fixed(self) -> dict[str, Any]:
        """The baseline's values of the searched leaves; none of weighting and augmentation, which it is without."""
        tree = {"training": self.file.baseline().training.model_dump()}
        return {path: _leaf(tree, path.split(".")) for path in self.file.leaves}


def _run_trial() -> RunTrial:
    from raywce.training.trial import run_trial

    return run_trial


def _tables(folder: RunFolder) -> dict[str, str]:
    return {"trials": folder.path(TRIALS), "utterances": folder.path(UTTERANCES)}


def _journal(folder: RunFolder) -> optuna.storages.BaseStorage | None:
    return JournalStorage(JournalFileBackend(str(folder.local / _STUDY))) if folder.local else None


def _is_complete(table: TrialTable, trial_id: str) -> bool:
    rows = table.of(trial_id)
    return bool(rows) and rows[-1]["state"] == COMPLETE


def _baseline_id(index: int) -> str:
    return f"baseline-{index}"


def _baseline_trial_id(config: Mapping[str, Any]) -> str:
    return _baseline_id(config["index"])


def _trial_id(trial: Any) -> str:
    return str(trial.config["trial_id"])


def _leaf(tree: Any, path: Sequence[str]) -> Any:
    """The value at a key path; None where the baseline has no such leaf."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _quiet() -> None:
    """Keep the libraries' notices off the progress table; their warnings and errors stay."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("ray.tune").setLevel(logging.WARNING)
    # After a restore it misses the logs of trials that were made again; the table has them.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
