"""Settings that are worth most by a search's model: what to try next, and what to confirm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from raywce.selection.search_model import Plan, SearchModel
from raywce.surrogate.cube import Cube

Array = NDArray[np.float64]

_DRAWN, _BEST, _NEAR = 1500, 5, 80
_WIDTHS = (0.2, 0.1, 0.04, 0.015)
_SURE = 0.5  # probability from which on a known setting's rate is one to improve on


def next_setting(
    model: SearchModel, cube: Cube, known: Array, random: np.random.Generator, plan: Plan | None = None
) -> Array:
    """Return the setting (axes,) with the largest expected improvement times a probability.

    Args:
        model: of what is known, with the running trials as they are expected to end.
        cube: the space.
        known: (n, axes) settings that were tried, or are being tried; without the baseline's.
        random: of the draws.
        plan: of the confirm phase: the probability is that of being confirmed by held-out speech alone; None: that
            of truly keeping all limits and lowering the objective, which looks further.
    """

    def probability(z: Array) -> Array:
        return model.keeps(z) if plan is None else model.chance(z, plan, with_model=False)

    best = None
    if len(known):
        low, sure = model.objective(known).mean, probability(known) >= _SURE
        best = float(low[sure].min()) if sure.any() else None

    def worth(z: Array) -> Array:
        chance = probability(z)
        if best is None:
            return chance
        mean, variance = model.objective(z)
        return _improvement(best - mean, np.sqrt(variance)) * chance

    return largest(worth, cube, known, random)


def lowest_with(
    model: SearchModel,
    cube: Cube,
    known: Array,
    plan: Plan,
    chance: float,
    with_model: bool,
    random: np.random.Generator,
    only_known: bool = False,
) -> Array:
    """Return the setting with the lowest mean low-resource rate of those that are confirmed with a probability.

    Where none reaches it, the one with the highest probability.
    """

    def worth(z: Array) -> Array:
        probability = model.chance(z, plan, with_model)
        out: Array = np.where(probability >= chance, 10 - model.objective(z).mean, probability)
        return out

    return known[worth(known).argmax()] if only_known else largest(worth, cube, known, random)


def largest(worth: Callable[[Array], Array], cube: Cube, known: Array, random: np.random.Generator) -> Array:
    """Return the setting (axes,) that is worth most: of drawn and known ones, then of ever nearer ones to the best."""
    z = np.vstack([known, cube.drawn(_DRAWN, random)])
    values = worth(z)
    for width in _WIDTHS:
        near = np.repeat(z[np.argsort(-values, kind="stable")[:_BEST]], _NEAR, axis=0)
        moved = cube.moved(near, random, width)
        z, values = np.vstack([z, moved]), np.r_[values, worth(moved)]
    found: Array = z[values.argmax()]
    return found


def _improvement(below: Array, deviation: Array) -> Array:
    """Return the expected improvement (Jones et al. 1998)."""
    u = below / deviation
    out: Array = deviation * (u * norm.cdf(u) + norm.pdf(u))
    return out
