"""What a search came to: the best feasible trial beside the baseline and the original model, from the table alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import stdev
from typing import Any, Literal

from raywce.errors import RunFailed
from raywce.experiment.schema import Experiment
from raywce.selection.comparison import Choice, Comparison
from raywce.selection.limits import mean_wers, objective, reference_wers, worst
from raywce.selection.settings import Setting, compared, setting_name
from raywce.selection.trials import BASELINE, COMPLETE, FAIL, PRUNED, SEARCH, Trials, values_of
from raywce.trial_report import Report
from raywce.valid_json import Number, as_json

FOUND, NOTHING_FEASIBLE = 0, 3  # exit codes


@dataclass(frozen=True)
class References:
    """WERs as fractions by language: of the baseline (mean over its seeds), of the model before, and of the limits.

    Attributes:
        baseline_deviation: standard deviation over the baseline's seeds; None with a single one.
    """

    baseline: dict[str, Number]
    original: dict[str, Number]
    limits: dict[str, Number]
    baseline_deviation: dict[str, Number] | None


@dataclass(frozen=True)
class TrialFigures:
    """One finished trial, or the means over the seeds of a grid's setting, whose trials' ids are then listed.

    Attributes:
        values: key path to value, of the searched leaves.
        wer: fractions by language, at the end of the training.
        violations: points of WER by high-resource language; <= 0 holds.
        objective: mean low-resource WER, a fraction.
    """

    trial_id: str
    values: dict[str, Any]
    wer: dict[str, Number]
    violations: dict[str, Number]
    objective: Number

    @property
    def feasible(self) -> bool:
        """Whether every constraint holds."""
        return all(value <= 0 for value in self.violations.values())

    @property
    def worst(self) -> tuple[str, float] | None:
        """The language that is nearest to its limit, or furthest above it, and the points."""
        return worst(self.violations)


@dataclass(frozen=True)
class ParetoPoint:
    """A trial's low-resource WER (a fraction) and its worst change of a high-resource WER (points)."""

    trial_id: str
    objective: Number
    worst_change: Number


@dataclass(frozen=True)
class Confirmation:
    """What the confirm phase came to.

    Attributes:
        dev: original, baseline and candidates on the speakers that the search did not see.
        choice: the winner and what may be claimed of each candidate.
        values: of each candidate's searched leaves.
        failed: candidates that are left out as a run of theirs failed, with the reason.
        tests: original, baseline and winner on each test split; empty where none was opened.
        closed: why the test splits were not opened; None where they were.
    """

    dev: Comparison
    choice: Choice
    values: dict[str, dict[str, Any]]
    failed: dict[str, str]
    tests: dict[str, Comparison]
    closed: str | None


@dataclass(frozen=True)
class SearchOutcome:
    """The figures of a whole search.

    Attributes:
        best: the feasible trial with the lowest objective; None where no trial is feasible.
        nearest: the trial with the least violation, where none is feasible.
        baseline_objective: the baseline's mean low-resource WER, a fraction.
        feasible: how many trials are; of a grid, how many settings.
        failed: trials that failed, with their reasons.
        stopped: how many trials were stopped early; none of them is best, nearest or counted as feasible.
        choice: which sampler drew, whether trials were stopped early, and why, in a sentence.
        out_of_time: whether fewer trials than asked for were run, as the time limit was reached.
        settings: of a grid: original, baseline and each setting, over its seeds; else None.
        pareto: trials that no other is at least as good as in both figures, feasible or not.
        confirmation: what the confirm phase came to; None without one.
    """

    name: str
    metric: str
    low_resource: list[str]
    high_resource: list[str]
    references: References
    baseline_objective: Number
    best: TrialFigures | None
    nearest: TrialFigures | None
    trials: int
    feasible: int
    failed: dict[str, str]
    stopped: int
    tables: dict[str, str]
    settings: list[Setting] | None
    pareto: list[ParetoPoint]
    state: Literal["found", "nothing feasible"]
    choice: str = ""
    out_of_time: bool = False
    confirmation: Confirmation | None = None

    @property
    def exit_code(self) -> int:
        """0 where a feasible trial was found, and is confirmed where that is asked for; else 3."""
        found = self.best if self.confirmation is None else self.confirmation.choice.winner
        return FOUND if found else NOTHING_FEASIBLE

    @property
    def better(self) -> bool:
        """Whether the best trial's low-resource WER is below the baseline's."""
        return self.best is not None and self.best.objective < self.baseline_objective

    def figures(self) -> dict[str, Any]:
        """Return all figures, as nested plain values."""
        return {**asdict(self), "exit_code": self.exit_code, "better_than_baseline": self.better}

    def to_json(self) -> str:
        """Return all figures, for machines; null where a number is not finite."""
        return as_json(self.figures())


def references(table: Trials, experiment: Experiment) -> References:
    """The references that the baseline's rows give.

    Raises:
        RunFailed: a run of the baseline failed, or left out a figure.
    """
    trial_ids = table.trial_ids(BASELINE)
    for trial_id in trial_ids:
        last = table.of(trial_id)[-1]
        if last["state"] == FAIL:
            raise RunFailed(f"the baseline failed ({trial_id}): {last['reason']}")
    runs = [_wers(_final(table.of(trial_id)), experiment.languages.all) for trial_id in trial_ids]
    first = table.of(trial_ids[0])[0]
    original = _wers(first if first["step"] == 0 else {}, experiment.languages.all)
    baseline = mean_wers(runs)
    limits = reference_wers(experiment.search.constraints, experiment.languages.high_resource, baseline, original)
    missing = [language for language in experiment.languages.all if math.isnan(baseline[language])]
    missing += [language for language, wer in limits.items() if math.isnan(wer)]
    if missing:
        raise RunFailed(f"the baseline gave no WER for {', '.join(dict.fromkeys(missing))}: has dev utterances of it?")
    deviation = {language: stdev(run[language] for run in runs) for language in baseline} if len(runs) > 1 else None
    return References(baseline, original, limits, deviation)


def intermediate_references(table: Trials, experiment: Experiment) -> dict[int, dict[str, float]]:
    """What each high-resource language is held against, as fractions, by step before the end.

    The steps are those at which all runs of the baseline were evaluated.
    """
    original, languages = references(table, experiment).original, experiment.languages
    runs = [_evaluations(table.of(trial_id), languages.all) for trial_id in table.trial_ids(BASELINE)]
    at = {step: mean_wers([run[step] for run in runs]) for step in runs[0] if all(step in run for run in runs)}
    return {
        step: reference_wers(experiment.search.constraints, languages.high_resource, wers, original)
        for step, wers in at.items()
    }


def completed(table: Trials, experiment: Experiment) -> list[TrialFigures]:
    """The trials that came to their end; of a grid, the settings that did with each of their seeds."""
    done = _completed_runs(table, experiment)
    return _means(done, experiment.search.seeds) if experiment.search.sampler == "grid" else done


def _completed_runs(table: Trials, experiment: Experiment) -> list[TrialFigures]:
    rows = [table.of(trial_id) for trial_id in table.trial_ids(SEARCH)]
    return [_figures(of, experiment) for of in rows if of[-1]["state"] == COMPLETE]


def outcome(table: Trials, experiment: Experiment, tables: dict[str, str], out_of_time: bool = False) -> SearchOutcome:
    """Judge the finished search.

    Args:
        table: the run folder's.
        experiment: the file's.
        tables: where they are, by name.
        out_of_time: whether the time limit kept trials from being run.

    Raises:
        RunFailed: no trial was completed.
    """
    found = references(table, experiment)
    rows = {trial_id: table.of(trial_id) for trial_id in table.trial_ids(SEARCH)}
    failed = {trial_id: str(of[-1].get("reason")) for trial_id, of in rows.items() if of[-1]["state"] == FAIL}
    stopped = sum(of[-1]["state"] == PRUNED for of in rows.values())
    single = _completed_runs(table, experiment)
    if not single:
        raise RunFailed(_nothing_done(list(failed.values()), stopped, out_of_time))
    done = completed(table, experiment)
    if not done:
        raise RunFailed(
            f"no setting was completed with each of its seeds; the last failure: {list(failed.values())[-1]}"
        )
    settings = _settings(table, single, found.original, experiment) if experiment.search.sampler == "grid" else None
    feasible = [trial for trial in done if trial.feasible]
    best = min(feasible, key=lambda trial: trial.objective, default=None)
    return SearchOutcome(
        name=experiment.name,
        metric=experiment.evaluation.metric,
        low_resource=list(experiment.languages.low_resource),
        high_resource=list(experiment.languages.high_resource),
        references=found,
        baseline_objective=objective(found.baseline, experiment.languages.low_resource),
        best=best,
        nearest=None if best else min(done, key=_largest_violation),
        trials=len(rows),
        feasible=len(feasible),
        failed=failed,
        stopped=stopped,
        tables=tables,
        settings=settings,
        pareto=pareto(done, found.baseline, experiment.languages.high_resource),
        state="found" if best else "nothing feasible",
        out_of_time=out_of_time,
    )


def pareto(
    trials: Sequence[TrialFigures], baseline: Mapping[str, float], high_resource: Sequence[str]
) -> list[ParetoPoint]:
    """Low-resource WER against the worst change of a high-resource one: what no other trial is as good as in both."""
    found: list[ParetoPoint] = []
    points = [
        ParetoPoint(trial.trial_id, trial.objective, max(100 * (trial.wer[of] - baseline[of]) for of in high_resource))
        for trial in (trials if high_resource else ())
    ]
    for point in sorted(points, key=lambda point: (point.objective, point.worst_change, point.trial_id)):
        if not found or point.worst_change < found[-1].worst_change:
            found.append(point)
    return found


def _nothing_done(reasons: list[str], stopped: int, out_of_time: bool) -> str:
    what = f"no trial was completed: {len(reasons)} failed, {stopped} were stopped early"
    what = what if stopped or not reasons else f"all {len(reasons)} trials failed"
    what += "; the time limit was reached" if out_of_time else ""
    return f"{what}; the last one: {reasons[-1]}" if reasons else what


def _settings(
    table: Trials, done: Sequence[TrialFigures], original: dict[str, float], experiment: Experiment
) -> list[Setting]:
    languages = experiment.languages
    baseline = [_wers(_final(table.of(trial_id)), languages.all) for trial_id in table.trial_ids(BASELINE)]
    factors = experiment.search.alternatives
    named = {setting_name(of[0].values, factors): [trial.wer for trial in of] for of in _by_setting(done)}
    return compared(original, baseline, named, languages.low_resource, languages.high_resource)


def _by_setting(trials: Sequence[TrialFigures]) -> list[list[TrialFigures]]:
    """Trials of the same values together, in the order of their first."""
    found: dict[tuple[Any, ...], list[TrialFigures]] = {}
    for trial in trials:
        found.setdefault(tuple(trial.values.items()), []).append(trial)
    return list(found.values())


def _means(trials: Sequence[TrialFigures], seeds: int) -> list[TrialFigures]:
    """Each setting over its seeds; without one that lacks a seed, which the baseline's mean has."""
    return [_mean(of) for of in _by_setting(trials) if len(of) == seeds]


def _mean(of: Sequence[TrialFigures]) -> TrialFigures:
    # A violation is linear in the WER: the mean's violation is the violations' mean.
    return TrialFigures(
        trial_id=", ".join(trial.trial_id for trial in of),
        values=of[0].values,
        wer=mean_wers([trial.wer for trial in of]),
        violations=mean_wers([trial.violations for trial in of]),
        objective=sum(trial.objective for trial in of) / len(of),
    )


def _final(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next((row for row in reversed(rows) if row.get("final")), {})


def _wers(row: Mapping[str, Any], languages: Sequence[str]) -> dict[str, float]:
    found = Report.of(row).wer
    return {language: found.get(language, math.nan) for language in languages}


def _evaluations(rows: Sequence[Mapping[str, Any]], languages: Sequence[str]) -> dict[int, dict[str, float]]:
    """WERs by step before the end, where each language has one."""
    found = {row.get("step"): _wers(row, languages) for row in rows if not row.get("final")}
    return {step: wers for step, wers in found.items() if step is not None and not any(map(math.isnan, wers.values()))}


def _largest_violation(trial: TrialFigures) -> float:
    return trial.worst[1] if trial.worst else 0.0


def _figures(rows: Sequence[Mapping[str, Any]], experiment: Experiment) -> TrialFigures:
    row = _final(rows)
    report = Report.of(row)
    assert report.objective is not None, "a complete trial has one"
    return TrialFigures(
        trial_id=row["trial_id"],
        values=values_of(row),
        wer=_wers(row, experiment.languages.all),
        violations={language: report.violations[language] for language in experiment.languages.high_resource},
        objective=report.objective,
    )
