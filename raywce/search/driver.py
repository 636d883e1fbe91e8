"""What one Tune trial runs: the experiment of its values, with objective and violations added to each report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raywce.data.parts import Part
from raywce.errors import InputError, RunFailed
from raywce.experiment.schema import Experiment
from raywce.search.constraints import Limit, is_feasible, violations, worst
from raywce.search.outcome import objective
from raywce.search.searcher import FAILURE, OBJECTIVE, STEP, VIOLATION
from raywce.storage import is_passing, is_storage_failure, wait_until_writable

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile

OUTAGES = 3  # of the storage, that a trial goes on after
RESTARTS = "restarts"
STORAGE_FAILURE = "storage_failure"  # key of a report that ends the whole phase: no other trial would fare better

Report = dict[str, Any]
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
    values: Mapping[str, Any] | None = None
    seed_index: int = 0
    candidate: str | None = None
    evaluates_original: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Run:
        """From Tune's config: what a searcher suggested, or one of the runs that were listed under `run`."""
        return cls(**config.get("run", config))


@dataclass(frozen=True)
class Driver:
    """The function that Tune calls, once a trial; it takes no CPU of its own.

    Attributes:
        folder: where the trials' own folders are.
        run_trial: `raywce.training.trial.run_trial`, or one of its signature.
        part: of dev, which the phase may see.
        limits: of the high-resource languages, at the end; None where trials are not judged one by one.
        limits_at: by step before the end, where the baseline has an evaluation there; elsewhere `limits` hold.
    """

    file: ExperimentFile
    folder: str
    run_trial: RunTrial
    part: Part = "all"
    limits: Mapping[str, Limit] | None = None
    limits_at: Mapping[int, Mapping[str, Limit]] = field(default_factory=dict)

    def __call__(self, config: dict[str, Any]) -> None:
        """Run the trial of `config` (`Run.of`); after an outage of the storage, go on from the last checkpoint."""
        from ray import tune

        last: Report = {}
        run = Run.of(config)
        earlier = 0  # restarts of attempts that an outage of the storage ended

        def on_report(report: Report) -> None:
            last.clear()
            last.update({**report, RESTARTS: earlier + report.get(RESTARTS, 0)})
            tune.report({OBJECTIVE: None, **last, **self.judge(last)})

        for _ in range(1 + OUTAGES):
            reason = self._attempt(run, on_report, last)
            if not (reason and is_passing(reason)) or not self._is_back():
                break
            earlier = last.get(RESTARTS, earlier) + 1
        if reason and is_storage_failure(reason):
            tune.report({STEP: 0, **last, OBJECTIVE: None, STORAGE_FAILURE: reason})
        elif reason:
            # Told as a result, not as an exception: nothing is to be tried again, and the table has the reason.
            tune.report({STEP: 0, **last, OBJECTIVE: None, FAILURE: reason})

    def _attempt(self, run: Run, on_report: Callable[[Report], None], last: Report) -> str | None:
        """Why the training can't be used, in a line; None where it can."""
        try:
            self.run_trial(self.experiment(run), self.folder, run.trial_id, on_report)
        except (RunFailed, InputError) as error:
            return " ".join(str(error).split())
        return self.why_unusable(last)

    def _is_back(self) -> bool:
        """Whether the storage can be written again, after some patience."""
        try:
            wait_until_writable(self.folder)
        except OSError:
            return False
        return True

    def experiment(self, run: Run) -> Experiment:
        """The concrete experiment of one trial."""
        experiment = self.file.baseline() if run.values is None else self.file.at(run.values)
        training = experiment.training
        at_start = training.evaluate_at_start or run.evaluates_original
        changed = training.model_copy(update={"seed": training.seed + run.seed_index, "evaluate_at_start": at_start})
        evaluation = experiment.evaluation.model_copy(update={"part": self.part})
        return experiment.model_copy(update={"training": changed, "evaluation": evaluation})

    def why_unusable(self, last: Report) -> str | None:
        """What the last report lacks to be compared with others, or None."""
        if not last.get("final"):
            return "the training ended without a final report"
        languages = self.file.experiment.languages.all
        missing = [language for language in languages if math.isnan(last.get(f"wer/{language}", math.nan))]
        return f"the last report has no WER of {', '.join(missing)}: are there dev utterances?" if missing else None

    def judge(self, report: Report) -> Report:
        """Objective and violations of a report with an evaluation; nothing for others and for the baseline."""
        languages = self.file.experiment.languages
        wers = {language: report.get(f"wer/{language}", math.nan) for language in languages.all}
        if self.limits is None or all(f"wer/{language}" not in report for language in languages.all):
            return {}
        on_the_way = None if report.get("final") else self.limits_at.get(report["step"])
        found = violations(wers, on_the_way or self.limits)
        largest = worst(found)
        return {
            OBJECTIVE: objective(wers, languages.low_resource),
            "feasible": is_feasible(found),
            "violation": largest[1] if largest else None,
            **{VIOLATION + language: value for language, value in found.items()},
        }
