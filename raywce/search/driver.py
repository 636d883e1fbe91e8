"""One Tune trial: runs the experiment of its values, and adds objective and violations to each report."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from raywce.data.dev_split import Part
from raywce.errors import InputError, RunFailed, one_line
from raywce.experiment.schema import Experiment
from raywce.experiment.space import Scalar
from raywce.selection.limits import Limit, is_feasible, violations, worst
from raywce.selection.objective import Objective
from raywce.storage.failures import is_passing, is_storage_failure, unshared
from raywce.storage.files import appears, wait_until_writable
from raywce.trial_report import OBJECTIVE, Flat, Report

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile

OUTAGES = 3  # of the storage, after which a trial resumes

RunTrial = Callable[[Experiment, str, str, Callable[[Report], None]], object]


@dataclass(frozen=True)
class Run:
    """One training of a phase.

    Attributes:
        values: key path to value, of the searched leaves; None: the baseline.
        seed_index: what is added to the file's `training.seed`.
        candidate: whose setting is trained again, in the confirm phase: a trial of the search, or the baseline.
        evaluates_original: also evaluates the model before its first step.
    """

    trial_id: str
    values: Mapping[str, Scalar] | None = None
    seed_index: int = 0
    candidate: str | None = None
    evaluates_original: bool = False

    @classmethod
    def of(cls, config: Flat) -> Run:
        """Return the run of Tune's config: of a searcher's suggestion, or of a listed run under `run`."""
        return cls(**config.get("run", config))


def _allocator() -> dict[str, str]:
    from raywce.cluster.gpu import allocator_settings  # loads torch, which a trial's own process may not need

    return allocator_settings()


@dataclass(frozen=True)
class Driver:
    """The function that Tune calls, once a trial; it takes no CPU of its own.

    Attributes:
        folder: where the trials' own folders are.
        run_trial: `raywce.training.trial.run_trial`, or one of its signature.
        part: of dev, which the phase may see.
        limits: of the languages that have one, at the end; None where trials are not judged one by one.
        limits_at: by step before the end, where the baseline has an evaluation there; elsewhere `limits` hold.
        shared_file: of the run folder, which each node must see; None: not looked for.
        baseline: its rates at the end, fractions by language; an objective over WERs and CERs is relative to them.
        allocator: environment of workers on a GPU, from that of the command: another node's process does not have it.
    """

    file: ExperimentFile
    folder: str
    run_trial: RunTrial
    part: Part = "all"
    shared_file: str | None = None
    limits: Mapping[str, Limit] | None = None
    limits_at: Mapping[int, Mapping[str, Limit]] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    allocator: Mapping[str, str] = field(default_factory=_allocator)

    def __call__(self, config: Flat) -> None:
        """Run the trial of `config` (`Run.of`); after an outage of the storage, resume from the last checkpoint."""
        if self.shared_file and not appears(self.shared_file):
            _give(Report(storage_failure=unshared(self.shared_file)))
            return
        if self.file.experiment.resources.gpus_per_worker:
            os.environ.update(self.allocator)
        run = Run.of(config)
        last = Report()
        earlier = 0  # restarts of attempts that an outage of the storage ended

        def on_report(report: Report) -> None:
            nonlocal last
            last = replace(report, restarts=earlier + report.restarts)
            _give(self.judged(last))

        for _ in range(1 + OUTAGES):
            reason = self._attempt(run, on_report) or self.why_unusable(last)
            if not (reason and is_passing(reason)) or not self._is_back():
                break
            earlier = last.restarts + 1
        if reason and is_storage_failure(reason):
            _give(replace(last, objective=None, storage_failure=f"{reason} (on {socket.gethostname()})"))
        elif reason:
            # Reported as a result, not as an exception: nothing is to be tried again, and the table has the reason.
            _give(replace(last, objective=None, failure=reason))

    def _attempt(self, run: Run, on_report: Callable[[Report], None]) -> str | None:
        """Return why the training can't be finished, in one line; None where it is."""
        try:
            self.run_trial(self.experiment(run), self.folder, run.trial_id, on_report)
        except (RunFailed, InputError) as error:
            return one_line(error)
        return None

    def _is_back(self) -> bool:
        """Return whether the storage can be written again, after some patience."""
        try:
            wait_until_writable(self.folder)
        except OSError:
            return False
        return True

    def experiment(self, run: Run) -> Experiment:
        """Return the concrete experiment of one trial."""
        experiment = self.file.baseline() if run.values is None else self.file.at(run.values)
        training = experiment.training
        at_start = training.evaluate_at_start or run.evaluates_original
        changed = training.model_copy(update={"seed": training.seed + run.seed_index, "evaluate_at_start": at_start})
        evaluation = experiment.evaluation.model_copy(update={"part": self.part})
        return experiment.model_copy(update={"training": changed, "evaluation": evaluation})

    def why_unusable(self, last: Report) -> str | None:
        """Return what the last report lacks to be compared with others, or None."""
        if not last.final:
            return "the training ended without a final report"
        metrics = self.file.experiment.metrics
        rates = metrics.deciding(last.rates)
        missing = [language for language in metrics.languages if math.isnan(rates.get(language, math.nan))]
        named = f"the last report has no {metrics.plain.label} of {', '.join(missing)}: are there dev utterances?"
        return named if missing else None

    def judged(self, report: Report) -> Report:
        """Add objective and violations to a report with an evaluation; others and the baseline's stay as they are."""
        experiment = self.file.experiment
        known = experiment.metrics.deciding(report.rates)
        if self.limits is None or not known:
            return report
        rates = {language: known.get(language, math.nan) for language in experiment.languages.decoded}
        intermediate = None if report.final else self.limits_at.get(report.step)
        found = violations(rates, intermediate or self.limits)
        largest = worst(found)
        return replace(
            report,
            objective=Objective.of(experiment, self.baseline).value(rates),
            feasible=is_feasible(found),
            violation=largest[1] if largest else None,
            violations=found,
        )


def _give(report: Report) -> None:
    """Report to Tune, which asks for its metric in every result."""
    from ray import tune

    tune.report({OBJECTIVE: None, **report.flat()})
