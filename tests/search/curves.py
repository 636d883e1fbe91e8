"""Toys as trainings: figures that come near their final values over the steps, with some noise."""

from __future__ import annotations

import math

import numpy as np

from tests.search.toys import Figures, Toy, Values

STEPS, FIRST_RUNG = 9, 1
_AT_START = 60.0  # objective of the model before its training
_FLOOR = 0.5  # points below its limit of a constraint at the start
_SPEED = 4.0  # a third of the way is made in the first ninth of the steps
_NOISE = 0.3  # of an intermediate evaluation, in points


def intermediate(toy: Toy, values: Values, step: int, seed: int) -> Figures:
    """The figures at `step` of `STEPS`; at the last one they are the toy's own.

    The objective falls from one start to the trial's own end, and a violation goes there from half a point below its
    limit: before the first step all models are the same, and none is worse than the baseline.
    """
    final = toy.evaluate(values)
    if step == STEPS:
        return final
    progress = (1 - math.exp(-_SPEED * step / STEPS)) / (1 - math.exp(-_SPEED))
    noise = np.random.default_rng([seed, step, *_digits(values)]).normal(0, _NOISE, 1 + len(final.violations))
    objective = _AT_START + (final.objective - _AT_START) * progress + noise[0]
    violations = {
        name: -_FLOOR + (value + _FLOOR) * progress + noise[index]
        for index, (name, value) in enumerate(final.violations.items(), start=1)
    }
    return Figures(max(0.0, objective), violations)


def _digits(values: Values) -> list[int]:
    return [int.from_bytes(np.float64(value).tobytes(), "little") for value in values.values()]
