"""The search: a baseline, then trials against it, each phase a Ray Tune run of its own in the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from raywce.cluster.capacity import Room, check_resources
from raywce.cluster.connect import connect, local_resources, running_address
from raywce.data.dev_split import Part
from raywce.errors import InputError, fail, one_line
from raywce.experiment.schema import Experiment
from raywce.runs.folder import EXPERIMENT, OUTCOME, TRIALS, UTTERANCES, RunFolder
from raywce.runs.json_files import read_candidates, read_outcome, write_candidates, write_outcome
from raywce.runs.recorded import check_same
from raywce.runs.tables import TrialTable, decoded_of_dev, write_utterances
from raywce.runs.test_openings import SEARCH as SEARCH_COMMAND
from raywce.runs.test_openings import open_test_split, openings
from raywce.screen.confirmation import candidate_line
from raywce.screen.console import show_line
from raywce.search.clock import SearchClock
from raywce.search.confirm import candidates, judged, runs, trainings, wanting_more, with_tests
from raywce.search.driver import Driver, Run, RunTrial
from raywce.search.held_out import (
    Decode,
    averaged_tests,
    averages_of,
    decode_averages,
    decode_on_cluster,
    decode_tests,
    decoded_tests,
    files_of,
    robustness_of,
)
from raywce.search.power import power_lines, power_of
from raywce.search.sampler import Task
from raywce.search.scheduler import FeasibleFirstASHA
from raywce.search.searcher import ConstrainedOptunaSearch, ListedRuns, Values
from raywce.search.study import open_journal
from raywce.search.task import task_of
from raywce.search.tune_run import TuneRuns, quiet
from raywce.selection.averages import judge_average
from raywce.selection.candidates import Candidate
from raywce.selection.comparison import looks_of
from raywce.selection.equal_weights import Ratios, alike_notes, train_alike
from raywce.selection.limits import limits
from raywce.selection.outcome import (
    Confirmation,
    References,
    SearchOutcome,
    completed,
    intermediate_references,
    outcome,
    references,
)
from raywce.selection.runaways import runaway_notes
from raywce.selection.sampler_choice import Choice, chosen
from raywce.selection.trials import BASELINE, COMPLETE, CONFIRM, FAIL, ORIGINAL, RUNNING, SEARCH, Row
from raywce.storage.failures import report_storage_failures
from raywce.trial_report import Report

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile

_STUDY = "optuna.journal"


def is_finished(file: ExperimentFile, folder: RunFolder, resume: bool, open_test_again: bool = False) -> bool:
    """Return whether the folder holds this experiment's finished search; refuse a folder of another file.

    Args:
        file: the experiment.
        folder: its run folder.
        resume: whether there must be something to resume.
        open_test_again: whether test splits that stayed closed, as they had been opened before, are wanted now.

    Raises:
        InputError: the folder was made from another file, or `resume` is asked for and there is nothing to resume.
    """
    check_same(folder, file)
    if resume and not folder.has(EXPERIMENT):
        fail("--resume", "there must be a search to resume", f"nothing at {folder.uri}", "Leave --resume out.")
    if not (folder.has(OUTCOME) and open_test_again):
        return folder.has(OUTCOME)
    outcome = read_outcome(folder)
    confirmation = outcome.confirmation if outcome else None
    return not (confirmation and confirmation.choice.winner and not confirmation.tests)


def run_search(
    file: ExperimentFile,
    storage: str | None = None,
    trial: RunTrial | None = None,
    decode: Decode = decode_on_cluster,
    open_test_again: bool = False,
) -> SearchOutcome:
    """Run the phases that are not finished yet, and judge the result.

    Args:
        file: the experiment with its distributions.
        storage: path or URI under which the run folder is; None: the experiment's.
        trial: runs one trial; None: `raywce.training.trial.runner`.
        decode: decodes the test splits.
        open_test_again: opens them though something else did before; it is recorded.

    Raises:
        InputError: the folder holds another experiment, or the cluster is too small.
        RunFailed: the baseline or every trial failed, or the search was interrupted.
    """
    quiet()
    folder = RunFolder.of(storage or file.experiment.storage, file.experiment.name)
    check_same(folder, file)
    if running_address() is None:
        check_resources(file.experiment.resources, [local_resources()]).raise_any()
    with report_storage_failures(folder.uri), folder.held(), connect() as cluster:
        room = cluster.room(file.experiment, show_line)
        with room.wanted(1):
            folder.open(file.resolved_yaml())
        phases = _Phases(file, folder, room, TuneRuns(file, folder, room), trial or _runner(file.experiment))
        against = phases.baseline()
        power = power_of(file, folder)
        for line in power_lines(file, power) if power else []:
            show_line(line)
        show_line(str(phases.choice))
        phases.search(against)
        table = phases.table()
        out_of_time = len(table.trial_ids(SEARCH)) < file.trials
        tables = {"trials": folder.path(TRIALS), "utterances": folder.path(UTTERANCES)}
        result = replace(outcome(table, file.experiment, tables, out_of_time), choice=str(phases.choice))
        result = replace(result, notes=phases.notes(result))
        if file.experiment.search.confirm.candidates:
            result = replace(result, confirmation=phases.confirm(decode, open_test_again))
        write_outcome(folder, result)
    return result


@dataclass(frozen=True)
class _Phases:
    file: ExperimentFile
    folder: RunFolder
    room: Room
    tune_runs: TuneRuns
    trial: RunTrial

    @property
    def experiment(self) -> Experiment:
        return self.file.experiment

    @property
    def choice(self) -> Choice:
        return chosen(self.experiment, self.file.space)

    @property
    def _shared_file(self) -> str | None:
        return self.folder.path(EXPERIMENT) if self.folder.local else None

    def table(self) -> TrialTable:
        return self.tune_runs.table()

    def baseline(self) -> References:
        """Run the seeds that are not complete; a trial resumes from what its own folder holds."""
        seeds = range(self.experiment.search.baseline_seeds)
        runs = [Run(f"{BASELINE}-{index}", seed_index=index, evaluates_original=index == 0) for index in seeds]
        self._listed(BASELINE, runs, self._part("search"))
        return references(self.table(), self.experiment)

    def notes(self, found: SearchOutcome) -> list[str]:
        """Return notes on trials that were one training, and on utterances whose decoding ran away.

        The latter are those of the original, the baseline and the trial that is shown.
        """
        table = self.table()
        repeated = alike_notes(trainings(completed(table, self.experiment), table, self.file))
        shown = found.best or found.nearest
        models = [(BASELINE, ORIGINAL), *((BASELINE, one) for one in table.trial_ids(BASELINE))]
        models += [(SEARCH, one) for one in shown.trial_ids] if shown else []
        tables = decoded_of_dev(self.folder, models)
        names = [name for _, name in models]
        return repeated + (runaway_notes(zip(names, tables, strict=True), self.experiment.metrics) if tables else [])

    def confirm(self, decode: Decode, open_test_again: bool) -> Confirmation:
        """Train candidates and baseline over new seeds, choose, and open the test splits for the winner."""
        chosen, looks = self._candidates(), looks_of(self.experiment)
        for one in chosen:
            show_line(candidate_line(one))
        begun = [row["seed"] - self.experiment.training.seed for row in self.table().last_rows(CONFIRM)]
        first, part = min(begun, default=None), self._part("confirm")
        wanted = runs(chosen, self.file, range(looks.first), first)
        self._listed(CONFIRM, wanted, part)
        more = wanting_more(self.table(), chosen, self.experiment, wanted)
        if more:
            show_line(f"Half of the seeds leave open: {', '.join(one.name for one in more)}.")
            others = runs(more, self.file, range(looks.first, looks.trainings), wanted[0].seed_index)
            self._listed(CONFIRM, others, part, len(wanted))
        table = self.table()
        found = judged(table, chosen, self.experiment)
        winner = found.choice.winner
        if winner is None:
            return replace(found, closed="no candidate is confirmed")
        with self.room.wanted(1):  # the nodes may have gone since the last training
            tables = decode_averages(self.folder, table, self.experiment, winner, decode)
        averaged = judge_average(tables, winner, len(chosen), self.experiment)
        found = replace(found, averaged=averaged)
        if not self.experiment.search.confirm.test:
            return replace(found, closed="search.confirm.test is false")
        averages = averages_of(table, winner)
        files = files_of(self.folder, table, self.experiment, winner, averages)
        try:
            open_test_split(self.folder, SEARCH_COMMAND, sorted({file.model for file in files}), open_test_again)
        except InputError as error:
            return replace(found, closed=one_line(error))
        with self.room.wanted(1):
            decode_tests(self.folder, files, self.experiment, decode, averages)
            robust = robustness_of(self.folder, files, table, self.experiment, found, decode)
        write_utterances(self.folder, table, [file for file in files if file.model not in averages])
        found = with_tests(found, decoded_tests(files, table, winner), self.experiment)
        tests = averaged_tests(files, averaged, self.experiment)
        return replace(found, averaged=replace(averaged, tests=tests), robustness=robust)

    def _candidates(self) -> list[Candidate]:
        """Return the candidates; those of a phase that was begun stay."""
        found = read_candidates(self.folder)
        if found is None:
            found = candidates(self.file, self.table())
            write_candidates(self.folder, found)
        return found

    def _listed(self, phase: str, wanted: Sequence[Run], part: Part, before: int = 0) -> None:
        """Run those of the listed runs that are not complete, after so many others of the phase.

        What failed is tried again; but not once the search is finished or has seen the test split, as another winner
        would be a choice made after it.
        """
        opened = any(opening["command"] == SEARCH_COMMAND for opening in openings(self.folder))
        ended = {COMPLETE, FAIL} if opened or self.folder.has(OUTCOME) else {COMPLETE}
        done = {row["trial_id"] for row in self.table().last_rows(phase) if row["state"] in ended}
        left = [run for run in wanted if run.trial_id not in done]
        if left:
            driver = Driver(self.file, self.folder.path("trials"), self.trial, part, self._shared_file)
            self.tune_runs.run(phase, driver, ListedRuns(left), len(left), before + len(wanted))

    def _part(self, of_phase: Part) -> Part:
        """Return the part of dev that a phase may see; without a confirm phase, nothing is kept back for it."""
        return of_phase if self.experiment.search.confirm.candidates else self.experiment.evaluation.part

    def search(self, against: References) -> None:
        """Run the trials that are left, where an earlier run stopped."""
        wanted, settings, table = self.file.trials, self.experiment.search, self.table()
        clock = SearchClock(self.folder, settings.time_limit_s)
        earlier = table.of_phase(SEARCH)
        ended = sum(rows[-1]["state"] != RUNNING for rows in earlier.values())
        if ended >= wanted or (clock.is_over() and ended == len(earlier)):
            return
        constraints = settings.constraints
        at_steps = intermediate_references(table, self.experiment)
        driver = Driver(
            self.file,
            self.folder.path("trials"),
            self.trial,
            self._part("search"),
            self._shared_file,
            limits(constraints, against.limits),
            {step: limits(constraints, wers) for step, wers in at_steps.items()},
            against.baseline,
        )
        searcher, scheduler = self._searcher(earlier, clock), self._scheduler(earlier)
        self.tune_runs.run(SEARCH, driver, searcher, wanted - ended, wanted, scheduler, clock)

    def _searcher(self, earlier: Mapping[str, Sequence[Row]], clock: SearchClock) -> ConstrainedOptunaSearch:
        settings = self.experiment.search
        return ConstrainedOptunaSearch(
            self.file.optuna_space,
            constraints=self.experiment.limited_languages,
            sampler=self.choice.sampler,
            seed=settings.seed,
            study_name=self.experiment.name,
            points=self.file.settings() if settings.sampler == "grid" else self.file.published_points(),
            seeds=settings.seeds,
            own_seeds=None if settings.sampler == "grid" else settings.baseline_seeds,
            training_seed=self.experiment.training.seed,
            storage=open_journal(self.folder.local / _STUDY) if self.folder.local else None,
            earlier=earlier,
            at_once=settings.max_concurrent_trials,
            is_over=clock.is_over,
            alike=self._alike,
            task=self._task() if self.choice.sampler == "noise_aware" else None,
            rates=self._rates,
        )

    def _task(self) -> Task:
        return task_of(self.file, self.table())

    def _rates(self, report: Report) -> dict[str, float]:
        return self.experiment.metrics.deciding(report.rates)

    def _alike(self, one: Values, other: Values, ratios: Ratios) -> bool:
        return train_alike(self.file.at(one), self.file.at(other), ratios)

    def _scheduler(self, earlier: Mapping[str, Sequence[Row]]) -> FeasibleFirstASHA | None:
        """Return the scheduler; None where each trial has its full length."""
        if not self.choice.rungs:
            return None
        factor = self.experiment.search.reduction_factor
        rows = [row for of in earlier.values() for row in of]
        return FeasibleFirstASHA(self.choice.rungs, self.experiment.training.steps, factor, rows)


def _runner(experiment: Experiment) -> RunTrial:
    from raywce.training.trial import runner

    return runner(experiment.resources)
