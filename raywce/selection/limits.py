"""Limits of the rates of high-resource and watched languages, and by how much a trial keeps or breaks them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import TYPE_CHECKING

import numpy as np

from raywce.experiment.schema import ConstraintLimits, Constraints

if TYPE_CHECKING:  # it takes scipy along, which a trial's driver does without
    from raywce.evaluation.confidence import Array

_DIGITS = 9  # of a point: what floating point adds to a rate that stands exactly on its limit is cut off


@dataclass(frozen=True)
class Limit:
    """One language's named constraint: rate - reference <= allowance, all fractions of its own WER or CER."""

    reference: float
    allowance: float

    def violation(self, wer: float) -> float:
        """Return the points above what is allowed; <= 0 is feasible, NaN stays NaN."""
        return round(100 * (wer - self.reference - self.allowance), _DIGITS)


@dataclass(frozen=True)
class Rule:
    """One language's limit, by the experiment file.

    Attributes:
        reference: `baseline`, `original`, or a rate, a fraction.
        tolerance: the allowed rise as a share of the reference.
        floor: the allowed rise where that share is smaller, a fraction.
    """

    reference: str | float
    tolerance: float
    floor: float

    @classmethod
    def of(cls, constraints: Constraints, language: str) -> Rule:
        """Return a language's own rule, where it has one, or the general one, key by key."""
        own = constraints.languages.get(language, ConstraintLimits()).model_dump(exclude_none=True)
        rule = constraints.model_copy(update=own)
        reference = rule.reference if isinstance(rule.reference, str) else rule.reference / 100
        return cls(reference, rule.relative_tolerance, rule.absolute_floor / 100)

    def allowed_rise(self, reference: Array | float) -> Array:
        """Return by how much a rate may be above a reference, fractions."""
        rise: Array = np.maximum(self.tolerance * np.asarray(reference), self.floor)
        return rise

    def excess(self, wer: Array, reference: Array | float) -> Array:
        """Return by how much a rate is above its limit: <= 0 where the constraint holds; fractions."""
        above: Array = wer - reference - self.allowed_rise(reference)
        return above


def mean_wers(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each language's mean rate over runs with different seeds.

    Every run's rate comes from summed counts over the same utterances, so their mean is the rate of all runs' counts
    added up.
    """
    return {language: sum(run[language] for run in runs) / len(runs) for language in runs[0]}


def deviations(runs: Sequence[Mapping[str, float]]) -> dict[str, float] | None:
    """Return each language's sample standard deviation over runs with different seeds; None below two runs."""
    return {language: stdev(run[language] for run in runs) for language in runs[0]} if len(runs) > 1 else None


def reference_wers(
    constraints: Constraints,
    limited: Sequence[str],
    baseline: Mapping[str, float],
    original: Mapping[str, float],
) -> dict[str, float]:
    """Return the rate that each language with a limit is compared with, a fraction, in the experiment file's order.

    Args:
        constraints: the experiment's; a language's own `reference` overrides the general one.
        limited: the languages with a limit (`Experiment.limited_languages`).
        baseline: mean rates of the baseline's runs at their end (fractions, see `mean_wers`).
        original: rates of the model before fine-tuning: step 0 of the baseline's first run (fractions).
    """
    measured = {"baseline": baseline, "original": original}
    rules = {language: Rule.of(constraints, language).reference for language in limited}
    return {
        language: measured[reference].get(language, math.nan) if isinstance(reference, str) else reference
        for language, reference in rules.items()
    }


def limits(constraints: Constraints, references: Mapping[str, float]) -> dict[str, Limit]:
    """Return each constrained language's limit in the search, in the order of `references` (fractions)."""
    return {
        language: Limit(wer, float(Rule.of(constraints, language).allowed_rise(wer)))
        for language, wer in references.items()
    }


def violations(wers: Mapping[str, float], limits: Mapping[str, Limit]) -> dict[str, float]:
    """Return the points by which each limit is broken (> 0) or kept (<= 0), in the order of `limits`."""
    return {language: limit.violation(wers[language]) for language, limit in limits.items()}


def is_feasible(violations: Mapping[str, float]) -> bool:
    """Return whether every constraint holds; a NaN does not hold."""
    return all(value <= 0 for value in violations.values())


def worst(violations: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the language with the largest violation and its points; None where nothing is constrained."""
    return max(violations.items(), key=lambda item: item[1], default=None)
