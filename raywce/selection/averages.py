"""The average of the winner's trainings: another model than its setting, and judged by held-out speech alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from raywce.experiment.schema import Experiment
from raywce.selection.comparison import (
    AveragedSide,
    Comparison,
    Decoded,
    Interval,
    compare,
    gain,
    interval_of,
    languages_in,
    no_gain,
    side_by_side,
)
from raywce.selection.limits import worst
from raywce.valid_json import Number

AVERAGE = "average"


def average_name(model: str, without: int | None = None) -> str:
    """Return the name of the average over the seeds of the baseline or a candidate, or of all but one of them."""
    return f"{AVERAGE}-{model}" if without is None else f"{AVERAGE}-{model}-without-{without}"


@dataclass(frozen=True)
class Averaged:
    """The average of the winner's trainings beside that of as many of the baseline's.

    Attributes:
        candidate: the winner.
        seeds: trainings in each of the two.
        dev: original, both averages: figures with intervals over other speech and other seeds.
        bounds: points by language with a limit, which its violation is below with the wanted confidence; <= 0
            holds.
        gain_bound: points that what is minimised is at most above that of the baseline's average, likewise.
        p: of "it breaks a limit, or is not better", by held-out speech alone; times the candidates that it could have
            been of (Bonferroni).
        confirmed: whether that is at most what the wanted confidence leaves.
        effect: by which averaging alone changes the baseline: what is minimised, of its average less the mean of its
            trainings, over other speech.
        tests: the same figures on each test split, over other speech alone; empty where none was opened.
    """

    candidate: str
    seeds: int
    dev: Comparison
    bounds: Mapping[str, Number]
    gain_bound: Number
    p: Number
    confirmed: bool
    effect: Interval
    tests: Mapping[str, Comparison]

    @property
    def name(self) -> str:
        """Of the averaged model."""
        return average_name(self.candidate)

    @property
    def worst(self) -> tuple[str, float] | None:
        """The language whose bound is the highest, and the points."""
        return worst(self.bounds)


@dataclass(frozen=True)
class AverageTables:
    """What averages decoded of one set, beside what their trainings did.

    Attributes:
        original: by the model before fine-tuning.
        averages: of the baseline and the winner; behind each, those without one each of its trainings.
        trainings: of the baseline, those that are averaged.
    """

    original: pa.Table
    averages: tuple[Sequence[pa.Table], Sequence[pa.Table]]
    trainings: Sequence[pa.Table]


def judge_average(tables: AverageTables, candidate: str, candidates: int, experiment: Experiment) -> Averaged:
    """Return the claim on the average of a winner's trainings.

    Args:
        tables: of dev, held out of the search.
        candidate: the winner.
        candidates: how many there were.
        experiment: whose limits, confidence and rate count.
    """
    confirm, low = experiment.search.confirm, experiment.languages.low_resource
    baseline, winner = tables.averages
    behind = Decoded(tables.original, baseline, {candidate: winner})
    shown = Decoded(tables.original, baseline[:1], {candidate: winner[:1]})
    sides = {name: AveragedSide(behind, name, experiment) for name in languages_in(shown, experiment)}
    excesses = {name: sides[name].excess(2) for name in experiment.limited_languages}
    better = no_gain(sides, low, 2)
    p = [min(1.0, candidates * float(one.p_value())) for one in (*excesses.values(), better)]
    level = 1 - (1 - confirm.confidence) / candidates
    dev = compare(shown, sides, experiment)
    return Averaged(
        candidate=candidate,
        seeds=len(winner) - 1,
        dev=_with_seeds(dev, len(winner) - 1),
        bounds={name: 100 * float(one.upper(level)) for name, one in excesses.items()},
        gain_bound=100 * float(better.upper(level)),
        p=max(p),
        confirmed=max(p) <= 1 - confirm.confidence,
        effect=_effect(tables, experiment),
        tests={},
    )


def compared_averages(
    original: pa.Table, baseline: pa.Table, winner: pa.Table, of: Averaged, experiment: Experiment
) -> Comparison:
    """Return the averages' figures on a test split."""
    decoded = Decoded(original, [baseline], {of.candidate: [winner]})
    comparison = compare(decoded, side_by_side(decoded, experiment, over_seeds=False), experiment)
    return _with_seeds(comparison, of.seeds)


def _with_seeds(comparison: Comparison, seeds: int) -> Comparison:
    """Return it with the trainings behind each average."""
    candidates = {name: replace(one, seeds=seeds) for name, one in comparison.candidates.items()}
    return replace(comparison, baseline=replace(comparison.baseline, seeds=seeds), candidates=candidates)


def _effect(tables: AverageTables, experiment: Experiment) -> Interval:
    decoded = Decoded(tables.original, tables.trainings, {AVERAGE: tables.averages[0][:1]})
    sides = side_by_side(decoded, experiment, over_seeds=False)
    return interval_of(gain(sides, experiment.languages.low_resource, 2), experiment.search.confirm.confidence)
