"""How much worse each high-resource language may become, and by how much a trial keeps or breaks that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raywce.experiment.schema import Constraints

_DIGITS = 9  # of a point: what floating point adds to a WER that stands exactly on its limit is cut off


@dataclass(frozen=True)
class Limit:
    """One language's named constraint: WER - reference <= allowance, both in points of WER."""

    reference: float
    allowance: float

    def violation(self, wer: float) -> float:
        """Points above what is allowed, for a WER as a fraction; <= 0 is feasible, NaN stays NaN."""
        return round(wer * 100 - self.reference - self.allowance, _DIGITS)


def mean_wers(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each language's mean WER over runs with different seeds.

    Every run's WER comes from summed counts over the same utterances, so their mean is the WER of all runs' counts
    added up.
    """
    return {language: sum(run[language] for run in runs) / len(runs) for language in runs[0]}


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
        kind = own(constraints, language, "reference")
        out[language] = measured[kind].get(language, math.nan) if isinstance(kind, str) else kind / 100
    return out


def limits(constraints: Constraints, references: Mapping[str, float]) -> dict[str, Limit]:
    """Each constrained language's limit in the search, in the order of `references` (fractions).

    The allowance is the larger of relative_tolerance * reference and absolute_floor, less the margin: what minimises
    one WER under limits on others ends at the limits, where no confirm phase can show that they hold.
    """
    out = {}
    for language, wer in references.items():
        relative = own(constraints, language, "relative_tolerance") * wer * 100
        allowance = max(relative, own(constraints, language, "absolute_floor")) - constraints.margin
        out[language] = Limit(wer * 100, allowance)
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


def own(constraints: Constraints, language: str, key: str) -> Any:
    """A language's own `reference`, `relative_tolerance` or `absolute_floor` where it has one, else the general one."""
    of_language = getattr(constraints.languages.get(language), key, None)
    return getattr(constraints, key) if of_language is None else of_language
