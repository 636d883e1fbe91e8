"""A grid's settings beside the original model and the baseline, each the mean over its seeds, as the paper has them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from raywce import numbers
from raywce.selection.limits import mean_wers
from raywce.valid_json import Number

ORIGINAL, BASELINE = "original", "baseline"
HIGH, ALL = "high", "all"
Wers = Mapping[str, float]


@dataclass(frozen=True)
class Setting:
    """One row.

    Attributes:
        name: `original`, `baseline`, or the setting's levels and values.
        runs: how many trainings the figures are the mean of; 0 for the original model.
        wer: mean over the runs, fractions by language.
        deviation: sample standard deviation over the runs, fractions by language; None below two runs.
        against_original: relative change of the mean WER in %: of each low-resource language, of the mean over the
            high-resource ones (`high`), and of the mean over all of them (`all`). None in the original's own row.
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
) -> list[Setting]:
    """The rows: original, baseline, then the settings in their order.

    Args:
        original: WER of the model before fine-tuning, fractions by language.
        baseline: the same of each run of the baseline.
        settings: name to the same of each of its runs, at least one.
        low_resource: languages that have a column of changes each.
        high_resource: languages that share one.
    """
    groups = {language: [language] for language in low_resource}
    groups |= {HIGH: list(high_resource)} if high_resource else {}
    groups[ALL] = [*low_resource, *high_resource]
    plain = mean_wers(baseline)
    rows = [Setting(ORIGINAL, 0, dict(original), None, None, None)]
    rows.append(_row(BASELINE, baseline, _changes(plain, original, groups), None))
    for name, runs in settings.items():
        mean = mean_wers(runs)
        rows.append(_row(name, runs, _changes(mean, original, groups), _changes(mean, plain, groups)))
    return rows


def setting_name(values: Mapping[str, Any], factors: Collection[str]) -> str:
    """A setting's levels, and its values with the names of their leaves."""
    return ", ".join(
        str(value) if path in factors else f"{path.rpartition('.')[2]} {numbers.hyperparameter(value)}"
        for path, value in values.items()
    )


def _row(
    name: str, runs: Sequence[Wers], against_original: dict[str, float], against_baseline: dict[str, float] | None
) -> Setting:
    mean = mean_wers(runs)
    deviation = {language: stdev(run[language] for run in runs) for language in mean} if len(runs) > 1 else None
    return Setting(name, len(runs), mean, deviation, against_original, against_baseline)


def _changes(wer: Wers, reference: Wers, groups: Mapping[str, Sequence[str]]) -> dict[str, float]:
    return {group: _change(_mean(wer, languages), _mean(reference, languages)) for group, languages in groups.items()}


def _mean(wer: Wers, languages: Sequence[str]) -> float:
    return sum(wer[language] for language in languages) / len(languages)


def _change(wer: float, reference: float) -> float:
    return 100 * (wer - reference) / reference if reference else math.nan
