"""How much worse each high-resource language may become, and by how much a trial keeps or breaks that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from raywce.experiment.schema import Constraints

if TYPE_CHECKING:  # it takes scipy along, which a trial's driver does without
    from raywce.evaluation.confidence import Array

_DIGITS = 9  # of a point: what floating point adds to a WER that stands exactly on its limit is cut off


def allowed_rise(reference: Array | float, tolerance: float, floor: float) -> Array:
    """Return by how much a WER may be above its reference: a share of it, or the floor where that is larger.

    Args:
        reference: WER that the language is compared with; a number or an array.
        tolerance: the share.
        floor: a fraction, as all of these are.
    """
    rise: Array = np.maximum(tolerance * np.asarray(reference), floor)
    return rise


def excess(wer: Array | float, reference: Array | float, tolerance: float, floor: float) -> Array:
    """Return by how much a WER is above its limit (`allowed_rise`): <= 0 where the constraint holds; fractions."""
    above: Array = wer - reference - allowed_rise(reference, tolerance, floor)
    return above


@dataclass(frozen=True)
class Limit:
    """One language's named constraint: WER - reference <= allowance, all fractions."""

    reference: float
    allowance: float

    def violation(self, wer: float) -> float:
        """Return the points above what is allowed; <= 0 is feasible, NaN stays NaN."""
        return round(100 * (wer - self.reference - self.allowance), _DIGITS)


@dataclass(frozen=True)
class Rule:
    """What the experiment file says of one language's limit.

    Attributes:
        reference: `baseline`, `original`, or a WER, a fraction.
        tolerance: the allowed rise as a share of the reference.
        floor: the allowed rise where that share is smaller, a fraction.
    """

    reference: str | float
    tolerance: float
    floor: float

    @classmethod
    def of(cls, constraints: Constraints, language: str) -> Rule:
        """Return a language's own rule, where it has one, or the general one, key by key."""

        def own(key: str) -> Any:
            of_language = getattr(constraints.languages.get(language), key, None)
            return getattr(constraints, key) if of_language is None else of_language

        reference = own("reference")
        reference = reference if isinstance(reference, str) else reference / 100
        return cls(reference, own("relative_tolerance"), own("absolute_floor") / 100)


def mean_wers(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each language's mean WER over runs with different seeds.

    Every run's WER comes from summed counts over the same utterances, so their mean is the WER of all runs' counts
    added up.
    """
    return {language: sum(run[language] for run in runs) / len(runs) for language in runs[0]}


def objective(wers: Mapping[str, float], low_resource: Sequence[str]) -> float:
    """Return what is minimised: the plain mean of the low-resource languages' WERs."""
    return sum(wers[language] for language in low_resource) / len(low_resource)


def reference_wers(
    constraints: Constraints,
    high_resource: Sequence[str],
    baseline: Mapping[str, float],
    original: Mapping[str, float],
) -> dict[str, float]:
    """What each high-resource language is held against, as fractions, in the order of the experiment file.

    Args:
        constraints: the experiment's; a language's own `reference` overrides the general one.
        high_resource: the constrained languages.
        baseline: mean WER of the baseline's runs at their end (fractions, see `mean_wers`).
        original: WER of the model before fine-tuning: step 0 of the baseline's first run (fractions).
    """
    measured = {"baseline": baseline, "original": original}
    out = {}
    for language in high_resource:
        reference = Rule.of(constraints, language).reference
        out[language] = measured[reference].get(language, math.nan) if isinstance(reference, str) else reference
    return out


def limits(constraints: Constraints, references: Mapping[str, float]) -> dict[str, Limit]:
    """Each constrained language's limit in the search, in the order of `references` (fractions).

    The allowance is the larger of relative_tolerance * reference and absolute_floor, less the margin: what minimises
    one WER under limits on others ends at the limits, where no confirm phase can show that they hold.
    """
    out = {}
    for language, wer in references.items():
        rule = Rule.of(constraints, language)
        rise = float(allowed_rise(wer, rule.tolerance, rule.floor))
        out[language] = Limit(wer, rise - constraints.margin / 100)
    return out


def violations(wers: Mapping[str, float], limits: Mapping[str, Limit]) -> dict[str, float]:
    """Points of WER by which each limit is broken (> 0) or kept (<= 0), always in the order of `limits`."""
    return {language: limit.violation(wers[language]) for language, limit in limits.items()}


def is_feasible(violations: Mapping[str, float]) -> bool:
    """Whether every constraint holds; a NaN does not hold."""
    return all(value <= 0 for value in violations.values())


def worst(violations: Mapping[str, float]) -> tuple[str, float] | None:
    """The language with the largest violation and its points; None where nothing is constrained."""
    return max(violations.items(), key=lambda item: item[1], default=None)
