"""Rates of the original, the baseline and the chosen model by language, with intervals where possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from raywce.experiment.schema import Experiment, Languages
from raywce.report.figures import Figure, LanguageRow, WerTable
from raywce.report.run import Run
from raywce.selection.averages import Averaged
from raywce.selection.comparison import Comparison, Decoded, Interval, compare, side_by_side
from raywce.selection.limits import limits, reference_wers
from raywce.selection.outcome import References, SearchOutcome, TrialFigures
from raywce.selection.trials import BASELINE, ORIGINAL, SEARCH

_SPEECH = "Intervals cover other speech of the same kind, for these trainings."
_SEEDS = "Intervals cover other speech of the same kind and other seeds."
_AVERAGES = "Intervals cover other speech of the same kind, for these averages."
_NO_INTERVALS = "No intervals: what these trainings decoded is not in utterances.parquet yet."


def wer_tables(run: Run) -> list[WerTable]:
    """Return the tables of the confirm phase, of its test splits, and of the search."""
    outcome = run.outcome
    if outcome is None:
        return []
    allowed, confirmation = allowances(outcome, run.experiment), outcome.confirmation
    experiment = run.experiment
    shown = confirmation.choice.shown if confirmation else None
    found = []
    if confirmation and shown:
        label = "winner" if confirmation.choice.winner else "nearest candidate"
        bounds, title = confirmation.choice.claims[shown].bounds, "dev, speakers held out of the search"
        found.append(_of_claim(title, confirmation.dev, shown, label, experiment, bounds))
        found += [_of_claim(name, test, shown, label, experiment) for name, test in confirmation.tests.items()]
    if confirmation and confirmation.averaged:
        found += _of_averages(confirmation.averaged, experiment)
    return [*found, _of_search(run, outcome, allowed)]


def _of_averages(averaged: Averaged, experiment: Experiment) -> list[WerTable]:
    """Return the tables of the average of the winner's trainings, beside that of the baseline's."""
    name, about = averaged.candidate, f"averages of the weights over {averaged.seeds} seeds, baseline's and winner's"
    dev = _of_claim(f"dev, {about}", averaged.dev, name, "average", experiment, averaged.bounds)
    tests = [
        replace(_of_claim(f"{split}, {about}", test, name, "average", experiment), note=_AVERAGES)
        for split, test in averaged.tests.items()
    ]
    return [replace(table, seeds=1, baseline_seeds=0) for table in (dev, *tests)]  # they are no means


def allowances(outcome: SearchOutcome, experiment: Experiment) -> dict[str, float]:
    """Return the points by which each rate with a limit may be above the baseline's, whatever its reference is."""
    return _above_baseline(experiment, outcome.references.limits, outcome.references.baseline)


def _above_baseline(
    experiment: Experiment, references: Mapping[str, float], baseline: Mapping[str, float]
) -> dict[str, float]:
    found = limits(experiment.search.constraints, references)
    return {name: 100 * (limit.reference + limit.allowance - baseline[name]) for name, limit in found.items()}


def _of_claim(
    title: str,
    figures: Comparison,
    name: str,
    label: str,
    experiment: Experiment,
    bounds: Mapping[str, float] | None = None,
) -> WerTable:
    """Return a table of speech that the search did not see, with the limits there; bounds where they were tested."""
    table = _of_comparison(title, figures, name, label, experiment.languages, bounds or {})
    allowed = _allowed(figures, experiment)
    rows = [replace(row, allowed=allowed.get(row.language)) for row in table.languages]
    return replace(table, languages=rows, has_bounds=bool(bounds), baseline_seeds=figures.baseline.seeds)


def _allowed(figures: Comparison, experiment: Experiment) -> dict[str, float]:
    """Return the same of this speech."""
    models = figures.baseline, figures.original
    baseline, original = ({language: wer.value for language, wer in one.wer.items()} for one in models)
    limited = [language for language in experiment.limited_languages if language in baseline]
    references = reference_wers(experiment.search.constraints, limited, baseline, original)
    return _above_baseline(experiment, references, baseline)


def _of_comparison(
    title: str, figures: Comparison, name: str, label: str, languages: Languages, bounds: Mapping[str, float]
) -> WerTable:
    own = figures.candidates[name]
    assert own.against_baseline is not None
    assert own.against_original is not None
    rows = [
        LanguageRow(
            language=language,
            low_resource=language in languages.low_resource,
            watched=language in languages.watched,
            original=_figure(figures.original.wer[language]),
            baseline=_figure(figures.baseline.wer[language]),
            chosen=_figure(wer),
            against_baseline=_figure(own.against_baseline[language]),
            against_original=_figure(own.against_original[language]),
            above_limit=bounds.get(language),
            identified=own.language_identification.get(language),
        )
        for language, wer in own.wer.items()
    ]
    gain = _figure(own.low_resource_gain) if own.low_resource_gain else None
    return WerTable(title, name, label, own.seeds, f"{_SEEDS}{_few_speakers(figures)}", gain, rows)


def _few_speakers(figures: Comparison) -> str:
    few = ", ".join(figures.no_claim_on_new_speakers)
    return f" Too few speakers of {few} are known for a claim about new speakers." if few else ""


def _of_search(run: Run, outcome: SearchOutcome, allowed: Mapping[str, float]) -> WerTable:
    trial, references = outcome.best or outcome.nearest, outcome.references
    assert trial is not None
    title, label = "dev, as the search saw it", "best trial" if outcome.best else "nearest trial"
    figures = _compared(run, trial)
    if figures:
        table = _of_comparison(title, figures, trial.trial_id, label, run.experiment.languages, trial.violations)
        if len(trial.trial_ids) == 1:
            table = replace(table, note=f"{_SPEECH}{_few_speakers(figures)}")
    else:
        languages = run.experiment.languages
        rows = [_without_intervals(language, trial, references, languages) for language in languages.decoded]
        gain = Figure(trial.objective - outcome.baseline_objective)
        table = WerTable(title, trial.trial_id, label, 1, _NO_INTERVALS, gain, rows)
    deviation = references.baseline_deviation or {}
    rows = [
        replace(row, baseline_deviation=deviation.get(row.language), allowed=allowed.get(row.language))
        for row in table.languages
    ]
    return replace(table, seeds=len(trial.trial_ids), languages=rows)


def _without_intervals(language: str, trial: TrialFigures, references: References, languages: Languages) -> LanguageRow:
    wer, baseline, original = trial.wer[language], references.baseline[language], references.original[language]
    return LanguageRow(
        language=language,
        low_resource=language in languages.low_resource,
        watched=language in languages.watched,
        original=Figure(original),
        baseline=Figure(baseline),
        chosen=Figure(wer),
        against_baseline=Figure(wer - baseline),
        against_original=Figure(wer - original),
        above_limit=trial.violations.get(language),
    )


def _compared(run: Run, trial: TrialFigures) -> Comparison | None:
    """Return the trainings of the search with intervals; over other seeds too where the trial has several."""
    baselines, trials = _by_seed(run, run.table.trial_ids(BASELINE)), _by_seed(run, trial.trial_ids)
    trainings = [(BASELINE, one) for one in (ORIGINAL, *baselines)] + [(SEARCH, one) for one in trials]
    original, *parts = run.decoded(trainings) or [None]
    languages = run.experiment.languages.decoded
    if original is None or not set(languages) <= set(original["language"].to_pylist()):
        return None
    decoded = Decoded(original, parts[: len(baselines)], {trial.trial_id: parts[len(baselines) :]})
    sides = side_by_side(decoded, run.experiment, over_seeds=len(trials) > 1)
    return compare(decoded, sides, run.experiment)


def _by_seed(run: Run, trial_ids: Sequence[str]) -> list[str]:
    return sorted(trial_ids, key=lambda trial_id: int(run.table.of(trial_id)[-1]["seed"]))


def _figure(interval: Interval) -> Figure:
    return Figure(interval.value, interval.low, interval.high)
