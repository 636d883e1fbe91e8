"""Steps at which a search may stop trials early: evaluations at which their trainings can differ."""

from __future__ import annotations

import math

from raywce.experiment.schema import Training, Weighting
from raywce.experiment.space import Space, largest

_DIGITS = 9  # of a step: what floating point adds to ramp_start * steps is cut off


def rungs(training: Training, weighting: Weighting, space: Space, factor: float) -> tuple[int, ...]:
    """Return the steps at which trials are ranked, in order; empty where no evaluation before the last step allows it.

    Args:
        training: its steps and evaluations.
        weighting: the file's.
        space: the searched leaves.
        factor: each rung lies this many times further than the one before, rounded up to an evaluation.
    """
    first = first_rung(training, weighting, space)
    found: list[int] = []
    milestone = float(first)
    while (step := _evaluation_at(training, milestone)) < training.steps:
        if step not in found:
            found.append(step)
        milestone *= factor
    return tuple(found)


def first_rung(training: Training, weighting: Weighting, space: Space) -> int:
    """Return the first evaluation after the steps in which all trials are the same, or the last step."""
    return _evaluation_at(training, math.floor(same_until(training, weighting, space)) + 1)


def same_until(training: Training, weighting: Weighting, space: Space) -> float:
    """Return for how many steps some trials have no weight yet, or are warming up: the most that can be drawn."""
    ramp_start = largest("weighting.ramp_start", getattr(weighting, "ramp_start", 0.0), space)
    warmup = largest("training.optimizer.warmup_steps", training.optimizer.warmup_steps, space)
    return max(round(ramp_start * training.steps, _DIGITS), warmup)


def _evaluation_at(training: Training, step: float) -> int:
    """Return the first evaluation at `step` or after it."""
    every = training.evaluate_every or training.steps
    return min(math.ceil(round(step, _DIGITS) / every) * every, training.steps)
