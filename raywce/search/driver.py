"""What one Tune trial runs: the experiment of its values, with objective and violations added to each report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raywce.errors import InputError, RunFailed
from raywce.experiment.schema import Experiment
from raywce.search.constraints import Limit, is_feasible, violations, worst
from raywce.search.outcome import objective
from raywce.search.searcher import FAILURE, OBJECTIVE, VIOLATION

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile

Report = dict[str, Any]
RunTrial = Callable[[Experiment, str, str, Callable[[Report], None]], object]


@dataclass(frozen=True)
class Driver:
    """The function that Tune calls, once a trial; it takes no CPU of its own.

    Attributes:
        folder: where the trials' own folders are.
        run_trial: `raywce.training.trial.run_trial`, or one of its signature.
        limits: of the high-resource languages, at the end; None in the baseline, which they are derived from.
        limits_at: by step before the end, where the baseline has an evaluation there; elsewhere `limits` hold.
    """

    file: ExperimentFile
    folder: str
    run_trial: RunTrial
    limits: Mapping[str, Limit] | None = None
    limits_at: Mapping[int, Mapping[str, Limit]] = field(default_factory=dict)

    def __call__(self, config: dict[str, Any]) -> None:
        """Run the trial of `config`: its `trial_id`, its `values` and `seed_index` (search) or `index` (baseline)."""
        from ray import tune

        last: Report = {}

        def on_report(report: Report) -> None:
            last.clear()
            last.update(report)
            tune.report({OBJECTIVE: None, **report, **self.judge(report)})

        try:
            self.run_trial(self.experiment(config), self.folder, config["trial_id"], on_report)
            reason = self.why_unusable(last)
        except (RunFailed, InputError) as error:
            reason = " ".join(str(error).split())
        if reason:
            # Told as a result, not as an exception: nothing is to be tried again, and the table has the reason.
            tune.report({"step": 0, **last, OBJECTIVE: None, FAILURE: reason})

    def experiment(self, config: Mapping[str, Any]) -> Experiment:
        """The concrete experiment of one trial."""
        if "values" in config:
            return _with_training(self.file.at(config["values"]), config["seed_index"])
        return baseline_run(self.file, config["index"])

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


def baseline_run(file: ExperimentFile, index: int) -> Experiment:
    """The baseline with its own seed; the first run evaluates the original model too, before its first step."""
    experiment = file.baseline()
    at_start = experiment.training.evaluate_at_start or index == 0
    return _with_training(experiment, index, evaluate_at_start=at_start)


def _with_training(experiment: Experiment, seed_index: int, **changes: Any) -> Experiment:
    training = experiment.training
    changed = training.model_copy(update={"seed": training.seed + seed_index, **changes})
    return experiment.model_copy(update={"training": changed})
