"""A grid's settings beside the original model and the baseline, each the mean over its seeds, as in the paper."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from raywce import numbers
from raywce.experiment.space import Scalar
from raywce.selection.languages import ONE_KIND
from raywce.selection.limits import deviations, mean_wers
from raywce.selection.trials import BASELINE, ORIGINAL
from raywce.valid_json import Number

HIGH, ALL, WATCHED = "high", "all", "watched"
Wers = Mapping[str, float]


@dataclass(frozen=True)
class Setting:
    """One row of figures.

    Attributes:
        name: `original`, `baseline`, or the setting's levels and values.
        runs: how many trainings the figures are the mean of; 0 for the original model.
        wer: each language's own rate, mean over the runs, fractions by language.
        deviation: sample standard deviation over the runs, fractions by language; None below two runs.
        against_original: relative change of the mean rate in %: of each low-resource language, of the mean over the
            high-resource ones (`high`), of the mean over all of them (`all`), and of the mean over the languages that
            are not trained on (`watched`). Over WERs and CERs, the mean of the languages' relative changes. None in the
            original's own row.
        against_baseline: the same against the baseline; only settings have it.
    """

    name: str
    runs: int
    wer: dict[str, Number]
    deviation: dict[str, Number] | None
    against_original: dict[str, Number] | None
    against_baseline: dict[str, Number] | None


def compared(
    original: Wers,
    baseline: Sequence[Wers],
    settings: Mapping[str, Sequence[Wers]],
    low_resource: Sequence[str],
    high_resource: Sequence[str],
    watched: Sequence[str] = (),
    kinds: Mapping[str, str] = ONE_KIND,
) -> list[Setting]:
    """Return the rows: original, baseline, then the settings in their order.

    Args:
        original: rates of the model before fine-tuning, fractions by language.
        baseline: the same of each run of the baseline.
        settings: name to the same of each of its runs, at least one.
        low_resource: languages that have a column of changes each.
        high_resource: languages that share one.
        watched: languages that share another.
        kinds: `WER` or `CER` by language; empty where all have a rate of one kind.
    """
    groups = {language: [language] for language in low_resource}
    groups |= {HIGH: list(high_resource)} if high_resource else {}
    groups[ALL] = [*low_resource, *high_resource]
    groups |= {WATCHED: list(watched)} if watched else {}
    plain = mean_wers(baseline)
    rows = [Setting(ORIGINAL, 0, dict(original), None, None, None)]
    for number, (name, runs) in enumerate([(BASELINE, baseline), *settings.items()]):
        mean = mean_wers(runs)
        against_baseline = _changes(mean, plain, groups, kinds) if number else None
        changes = _changes(mean, original, groups, kinds)
        rows.append(Setting(name, len(runs), mean, deviations(runs), changes, against_baseline))
    return rows


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return the last part of each key path; the path without its section where two end alike."""
    ends = {path: path.rpartition(".")[2] for path in paths}
    counts = Counter(ends.values())
    return {path: end if counts[end] == 1 else path.partition(".")[2] or path for path, end in ends.items()}


def setting_name(values: Mapping[str, Scalar], factors: Collection[str]) -> str:
    """Return a setting's levels, and its values with the names of their leaves."""
    names = short_names(path for path in values if path not in factors)
    return ", ".join(
        str(value) if path in factors else f"{names[path]} {numbers.hyperparameter(value)}"
        for path, value in values.items()
    )


def _changes(
    wer: Wers, reference: Wers, groups: Mapping[str, Sequence[str]], kinds: Mapping[str, str]
) -> dict[str, float]:
    def change(languages: Sequence[str]) -> float:
        if len({kinds.get(language) for language in languages}) > 1:  # no common scale
            return sum(change([language]) for language in languages) / len(languages)
        return _change(_mean(wer, languages), _mean(reference, languages))

    return {group: change(languages) for group, languages in groups.items()}


def _mean(wer: Wers, languages: Sequence[str]) -> float:
    return sum(wer[language] for language in languages) / len(languages)


def _change(wer: float, reference: float) -> float:
    return 100 * (wer - reference) / reference if reference else math.nan


def about_baseline(values: Mapping[str, Scalar]) -> str:
    """Return what the baseline is, with its values of the other leaves that are searched."""
    others = [f"{path} = {numbers.hyperparameter(value)}" for path, value in values.items()]
    return f"plain fine-tuning: {', '.join(['weight 1', 'no augmentation', *others])}"
