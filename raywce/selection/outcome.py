"""The outcome of a search by its table: the best feasible trial beside the baseline and the original model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from raywce.errors import RunFailed
from raywce.experiment.schema import Experiment
from raywce.experiment.space import Scalar
from raywce.selection.averages import Averaged
from raywce.selection.comparison import Choice, Comparison
from raywce.selection.limits import Rule, deviations, is_feasible, mean_wers, reference_wers, worst
from raywce.selection.objective import Objective
from raywce.selection.robustness import RobustnessFigures
from raywce.selection.settings import Setting, compared, setting_name
from raywce.selection.trials import BASELINE, COMPLETE, FAIL, PRUNED, SEARCH, Row, Trials, values_of
from raywce.trial_report import Report
from raywce.valid_json import Number, as_json

FOUND, NOTHING_FEASIBLE = 0, 3  # exit codes
_JOINT = ", "


@dataclass(frozen=True)
class References:
    """Each language's own rate, a fraction: the baseline's (mean over its seeds), the original's, and the limits'.

    Attributes:
        baseline_deviation: standard deviation over the baseline's seeds; None with a single one.
    """

    baseline: dict[str, Number]
    original: dict[str, Number]
    limits: dict[str, Number]
    baseline_deviation: dict[str, Number] | None


@dataclass(frozen=True)
class _Named:
    """One trial, or the setting of a grid.

    Attributes:
        trial_id: as it is written and printed; of a setting, the ids of its trials (`trial_ids`), joined.
    """

    trial_id: str

    @property
    def trial_ids(self) -> tuple[str, ...]:
        """The trials behind the figures: for a setting of a grid, one for each seed."""
        return tuple(self.trial_id.split(_JOINT))


@dataclass(frozen=True)
class TrialFigures(_Named):
    """One finished trial, or the means over the seeds of a grid's setting.

    Attributes:
        values: key path to value, of the searched leaves.
        wer: each language's own rate (`SearchOutcome.marks`), a fraction, at the end of the training.
        violations: points by language with a limit; <= 0 holds.
        objective: what is minimised, a fraction (`raywce.selection.objective`).
    """

    values: dict[str, Scalar]
    wer: dict[str, Number]
    violations: dict[str, Number]
    objective: Number

    @property
    def called(self) -> str:
        """What it is, in words: `trial search-000-9adf`, or `setting 4 times the draws`."""
        if len(self.trial_ids) == 1:
            return f"trial {self.trial_id}"
        return f"setting {setting_name(self.values, [path for path in self.values if '.' not in path])}"

    @property
    def feasible(self) -> bool:
        """Whether every constraint holds."""
        return is_feasible(self.violations)

    @property
    def worst(self) -> tuple[str, float] | None:
        """The language that is nearest to its limit, or furthest above it, and the points."""
        return worst(self.violations)


@dataclass(frozen=True)
class ParetoPoint(_Named):
    """A trial's objective (a fraction) and its worst change of a rate that has a limit (points)."""

    objective: Number
    worst_change: Number


@dataclass(frozen=True)
class PlainConfirmation:
    """The figures and claims of the confirm phase again, by the plain rate."""

    dev: Comparison
    choice: Choice
    tests: dict[str, Comparison]


@dataclass(frozen=True)
class Confirmation:
    """The outcome of the confirm phase.

    Attributes:
        dev: original, baseline and candidates on the speakers that the search did not see.
        choice: the winner and what may be claimed of each candidate.
        values: of each candidate's searched leaves.
        failed: candidates that are left out as a run of theirs failed, with the reason.
        tests: original, baseline and winner on each test split; empty where none was opened.
        closed: why the test splits were not opened; None where they were.
        plain: the same by the plain rate, where the capped one decides.
        averaged: the average of the winner's trainings; None without a winner.
        robustness: measures beside the rates, of the model to take; None where no test split was opened.
    """

    dev: Comparison
    choice: Choice
    values: dict[str, dict[str, Scalar]]
    failed: dict[str, str]
    tests: dict[str, Comparison]
    closed: str | None
    plain: PlainConfirmation | None = None
    averaged: Averaged | None = None
    robustness: RobustnessFigures | None = None

    @property
    def breaks(self) -> Sequence[str]:
        """Return which limits of robustness the model to take breaks, in words."""
        return self.robustness.broken if self.robustness else []

    @property
    def taken(self) -> Averaged | None:
        """The average, where it is the model to take: it is confirmed itself; else one seed's model is."""
        return self.averaged if self.averaged and self.averaged.confirmed else None


@dataclass(frozen=True)
class SearchOutcome:
    """The figures of a whole search.

    Attributes:
        best: the feasible trial with the lowest objective; None where no trial is feasible.
        nearest: the trial with the least violation, where none is feasible.
        baseline_objective: the baseline's, a fraction.
        feasible: how many trials are; of a grid, how many settings.
        failed: trials that failed, with their reasons.
        stopped: how many trials were stopped early; none of them is best, nearest or counted as feasible.
        choice: which sampler drew, whether trials were stopped early, and why, in a sentence.
        out_of_time: whether fewer trials than asked for were run, as the time limit was reached.
        settings: of a grid: original, baseline and each setting, over its seeds; else None.
        pareto: trials that no other is at least as good as in both figures, feasible or not.
        confirmation: the outcome of the confirm phase; None without one.
        label: of the rates that decide, such as `capped WER`.
        objective_label: of what is minimised, such as `low-resource capped WER`; empty: `label`'s.
        objective_about: a sentence on it, where that is no mean rate.
        marks: `WER` or `CER` by language; empty where all have a rate of one kind.
        notes: where the plain rate is well above the capped one, and by which utterances.
        watched: languages that are measured, and not trained on.
        rules: limits by language that has one.
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
    label: str = "WER"
    notes: Sequence[str] = ()
    watched: Sequence[str] = ()
    objective_label: str = ""
    objective_about: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, Rule] = field(default_factory=dict)

    @property
    def minimised(self) -> str:
        """The name of what is minimised."""
        return self.objective_label or f"low-resource {self.label}"

    @property
    def exit_code(self) -> int:
        """0 where a feasible trial was found, and is confirmed where that is asked for and as robust; else 3."""
        confirmation = self.confirmation
        found = self.best if confirmation is None else confirmation.choice.winner and not confirmation.breaks
        return FOUND if found else NOTHING_FEASIBLE

    @property
    def better(self) -> bool:
        """Whether the best trial's objective is below the baseline's."""
        return self.best is not None and self.best.objective < self.baseline_objective

    def figures(self) -> dict[str, object]:
        """Return all figures, as nested plain values."""
        return {**asdict(self), "exit_code": self.exit_code, "better_than_baseline": self.better}

    def to_json(self) -> str:
        """Return all figures, for machines; null where a number is not finite."""
        return as_json(self.figures())


def references(table: Trials, experiment: Experiment) -> References:
    """Return the references that the baseline's rows give.

    Raises:
        RunFailed: a run of the baseline failed, or left out a figure.
    """
    done = 0
    for last in table.last_rows(BASELINE):
        if last["state"] == FAIL:
            raise RunFailed(f"the baseline failed ({last['trial_id']}): {last['reason']}")
        done += last["state"] == COMPLETE
    if done < experiment.search.baseline_seeds:
        raise RunFailed(f"the baseline is not complete: {done} of {experiment.search.baseline_seeds} trainings")
    runs = baseline_wers(table, experiment)
    first = table.of(table.trial_ids(BASELINE)[0])[0]
    original = _wers(first if first["step"] == 0 else {}, experiment)
    baseline = mean_wers(runs)
    limits = reference_wers(experiment.search.constraints, experiment.limited_languages, baseline, original)
    missing = [language for language in experiment.languages.decoded if math.isnan(baseline[language])]
    missing += [language for language, wer in limits.items() if math.isnan(wer)]
    if missing:
        named, kind = ", ".join(dict.fromkeys(missing)), experiment.metrics.plain.label
        raise RunFailed(f"the baseline gave no {kind} for {named}, of which dev may have no utterances")
    without = [language for language in experiment.languages.low_resource if not baseline[language]]
    if without and experiment.metrics.is_relative:
        rule = "with WERs and CERs in the objective, the baseline must have errors in each low-resource language"
        do = "Remove it from languages.low_resource, or set evaluation.metric to a rate that all have"
        raise RunFailed(f"{rule}, to measure relative changes from, but has none in {', '.join(without)}. {do}.")
    return References(baseline, original, limits, deviations(runs))


def intermediate_references(table: Trials, experiment: Experiment) -> dict[int, dict[str, float]]:
    """Return the rate that each language with a limit is compared with, a fraction, by step before the end.

    The steps are those at which all runs of the baseline were evaluated.
    """
    original, limited = references(table, experiment).original, experiment.limited_languages
    runs = [_evaluations(rows, experiment) for rows in table.of_phase(BASELINE).values()]
    at = {step: mean_wers([run[step] for run in runs]) for step in runs[0] if all(step in run for run in runs)}
    constraints = experiment.search.constraints
    return {step: reference_wers(constraints, limited, wers, original) for step, wers in at.items()}


def completed(table: Trials, experiment: Experiment) -> list[TrialFigures]:
    """Return the completed trials; of a grid, the settings that were completed with each of their seeds."""
    done = _completed_runs(table, experiment)
    return _means(done, experiment.search.seeds) if experiment.search.sampler == "grid" else done


def _completed_runs(table: Trials, experiment: Experiment) -> list[TrialFigures]:
    return [_figures(of, experiment) for of in table.of_phase(SEARCH).values() if of[-1]["state"] == COMPLETE]


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
    last = table.last_rows(SEARCH)
    failed = {row["trial_id"]: str(row.get("reason")) for row in last if row["state"] == FAIL}
    stopped = sum(row["state"] == PRUNED for row in last)
    single = _completed_runs(table, experiment)
    if not single:
        raise RunFailed(_nothing_done(list(failed.values()), stopped, out_of_time))
    done = completed(table, experiment)
    if not done:
        why = ["the time limit was reached"] if out_of_time else []
        why += [f"the last failure: {reason}" for reason in list(failed.values())[-1:]]
        raise RunFailed("; ".join(["no setting was completed with each of its seeds", *why]))
    settings = _settings(table, single, found.original, experiment) if experiment.search.sampler == "grid" else None
    feasible = [trial for trial in done if trial.feasible]
    best = min(feasible, key=lambda trial: trial.objective, default=None)
    return SearchOutcome(
        name=experiment.name,
        metric=experiment.evaluation.metric,
        low_resource=list(experiment.languages.low_resource),
        high_resource=list(experiment.languages.high_resource),
        references=found,
        baseline_objective=Objective.of(experiment, found.baseline).value(found.baseline),
        best=best,
        nearest=None if best else min(done, key=lambda trial: trial.worst[1] if trial.worst else 0.0),
        trials=len(last),
        feasible=len(feasible),
        failed=failed,
        stopped=stopped,
        tables=tables,
        settings=settings,
        pareto=pareto(done, found.baseline, experiment.limited_languages),
        state="found" if best else "nothing feasible",
        out_of_time=out_of_time,
        label=experiment.metrics.label,
        objective_label=experiment.metrics.objective_label,
        objective_about=experiment.metrics.objective_about,
        marks=experiment.metrics.marks,
        watched=list(experiment.languages.watched),
        rules={name: Rule.of(experiment.search.constraints, name) for name in experiment.limited_languages},
    )


def pareto(trials: Sequence[TrialFigures], baseline: Mapping[str, float], limited: Sequence[str]) -> list[ParetoPoint]:
    """Return objective and worst change of a rate that has a limit of trials that no other equals in both."""
    found: list[ParetoPoint] = []
    points = [
        ParetoPoint(trial.trial_id, trial.objective, max(100 * (trial.wer[of] - baseline[of]) for of in limited))
        for trial in (trials if limited else ())
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
    baseline = baseline_wers(table, experiment)
    factors = experiment.search.alternatives
    named = {setting_name(of[0].values, factors): [trial.wer for trial in of] for of in _by_setting(done)}
    groups = (languages.low_resource, languages.high_resource, languages.watched)
    return compared(original, baseline, named, *groups, kinds=experiment.metrics.marks)


def _by_setting(trials: Sequence[TrialFigures]) -> list[list[TrialFigures]]:
    """Return trials of the same values together, in the order of their first."""
    found: dict[tuple[tuple[str, Scalar], ...], list[TrialFigures]] = {}
    for trial in trials:
        found.setdefault(tuple(trial.values.items()), []).append(trial)
    return list(found.values())


def _means(trials: Sequence[TrialFigures], seeds: int) -> list[TrialFigures]:
    """Return each setting over its seeds; without one that lacks a seed, which the baseline's mean has."""
    return [_mean(of) for of in _by_setting(trials) if len(of) == seeds]


def _mean(of: Sequence[TrialFigures]) -> TrialFigures:
    # A violation is linear in the rate: the mean's violation is the violations' mean.
    return TrialFigures(
        trial_id=_JOINT.join(trial.trial_id for trial in of),
        values=of[0].values,
        wer=mean_wers([trial.wer for trial in of]),
        violations=mean_wers([trial.violations for trial in of]),
        objective=sum(trial.objective for trial in of) / len(of),
    )


def _final(rows: Sequence[Row]) -> Row:
    return next((row for row in reversed(rows) if row.get("final")), {})


def baseline_wers(table: Trials, experiment: Experiment) -> list[dict[str, float]]:
    """Return the rates of each of the baseline's runs, fractions by language."""
    return [_wers(_final(rows), experiment) for rows in table.of_phase(BASELINE).values()]


def _wers(row: Row, experiment: Experiment) -> dict[str, float]:
    """Return a row's rates by the experiment's metrics, whether the run decided by them or by the capped ones."""
    found = experiment.metrics.deciding(Report.of(row).rates)
    return {language: found.get(language, math.nan) for language in experiment.languages.decoded}


def _evaluations(rows: Sequence[Row], experiment: Experiment) -> dict[int, dict[str, float]]:
    """Return rates by step before the end, where each language has one."""
    found = {row.get("step"): _wers(row, experiment) for row in rows if not row.get("final")}
    return {step: wers for step, wers in found.items() if step is not None and not any(map(math.isnan, wers.values()))}


def _figures(rows: Sequence[Row], experiment: Experiment) -> TrialFigures:
    row = _final(rows)
    report = Report.of(row)
    assert report.objective is not None, "a complete trial has one"
    return TrialFigures(
        trial_id=row["trial_id"],
        values=values_of(row),
        wer=_wers(row, experiment),
        violations={language: report.violations[language] for language in experiment.limited_languages},
        objective=report.objective,
    )
