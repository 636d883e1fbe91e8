"""A grid's settings: all combinations of the values of a space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from raywce.experiment.schema import Experiment
from raywce.experiment.space import Distribution, Scalar


def settings(space: Mapping[str, Distribution]) -> Iterator[dict[str, Scalar]]:
    """Every combination, in the order of the space; the last key's values change fastest."""
    for values in product(*(_listed(distribution) for distribution in space.values())):
        yield dict(zip(space, values, strict=True))


def is_baseline(experiment: Experiment, baseline: Experiment) -> bool:
    """Whether it trains as the baseline does: every weight 1, nothing augmented, the same optimizer."""
    weighted = any(
        schedule.adaptive or (schedule.alpha_initial, schedule.alpha_final) != (1.0, 1.0)
        for schedule in experiment.schedules().values()
    )
    same_optimizer = experiment.training.optimizer == baseline.training.optimizer
    return same_optimizer and not weighted and not experiment.augmentation.active


def _listed(distribution: Distribution) -> tuple[Any, ...]:
    if distribution.kind == "int":
        low, high = distribution.values
        return tuple(range(low, high + 1))  # type: ignore[arg-type, operator]
    return distribution.values
