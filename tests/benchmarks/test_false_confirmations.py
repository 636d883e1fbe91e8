"""How often the confirm phase confirms a setting that it should not: both looks, and both halves of dev.

Settings exactly on one limit, or on all; and an adversary, who of 150 settings that break a limit by at most a tenth
of a point takes the one that the search likes best. The search's trials are settings at random here: a suggestion
takes seconds, and these are thousands of searches.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
from numpy.typing import NDArray

from raywce.search.sampler import cube_of
from raywce.selection.candidates import known_at
from raywce.selection.search_model import Plan, SearchModel
from tests.benchmarks.simulated_searches import Design, verdict, with_suits
from tests.benchmarks.simulated_worlds import ROUGH, SMOOTH, Half, World
from tests.benchmarks.test_whole_search import upper
from tests.search.simulated_dev import Noise

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(36000)]

SEARCHES = int(os.environ.get("RAYWCE_SEARCHES", "2000"))
SPEAKERS, ADVERSARYS, BREAKS = 100, 150, 0.001
DESIGN, NOISE = Design(), Noise(seed=0.02)
FAR = 0.03  # a limit that does not matter
Array = NDArray[np.float64]
Chosen = Callable[[World, SearchModel, Plan, np.random.Generator], Array]


def on_limits(world: World, count: int) -> World:
    """A world in which the candidate's rise is the limit of so many languages, and the others' are far."""
    values = cube_of(world.space).values(_candidate(world))
    rates, before = world.rates(values), world.rates(world.baseline)
    rises = {name: rates[name] - before[name] for name in world.floors}
    return replace(
        world,
        floors={name: rise + (0.0 if number < count else FAR) for number, (name, rise) in enumerate(rises.items())},
    )


def _candidate(world: World) -> Array:
    """A setting that is better than the baseline, and pushes the other languages."""
    cube = cube_of(world.space)
    rows = cube.drawn(2000, np.random.default_rng(3))
    excess = np.array([world.excess(cube.values(row)) for row in rows])
    low = np.array([world.rates(cube.values(row))["low"] for row in rows])
    return rows[np.where(np.abs(excess) < 0.002, low, np.inf).argmin()]


def fixed(world: World, model: SearchModel, plan: Plan, random: np.random.Generator) -> Array:
    """The setting that stands on limits."""
    return _candidate(SMOOTH if world.name == SMOOTH.name else ROUGH)


def adversary(world: World, model: SearchModel, plan: Plan, random: np.random.Generator) -> Array:
    """Of settings that break a limit by a little, the one that the search likes best."""
    cube, rows = cube_of(world.space), []
    while len(rows) < ADVERSARYS:
        drawn = cube.drawn(500, random)
        rows += [row for row in drawn if 0 < world.excess(cube.values(row)) <= BREAKS]
    found = np.array(rows[:ADVERSARYS])
    best: Array = found[model.chance(found, plan, True).argmax()]
    return best


def confirms(world: World, chosen: Chosen, seed: int) -> tuple[bool, bool]:
    """Whether the candidate is confirmed, and whether by held-out speech alone."""
    random = np.random.default_rng([seed, 55])
    of_search, of_confirm = (round(2 * SPEAKERS * share) for share in (1 - DESIGN.share, DESIGN.share))
    half, cube = Half(random, world, NOISE, 20 * of_search, of_search), cube_of(world.space)
    baseline = half.errors(world.baseline, DESIGN.baseline_seeds)
    rows = cube.drawn(DESIGN.trials, random)
    trials = [half.errors(cube.values(row), 1) for row in rows]
    before = with_suits(half, half.before(half.rates_of(baseline)), baseline, trials)
    model = SearchModel.fit(before, rows, np.vstack([half.rates_of(one) for one in trials]))
    row = chosen(world, model, DESIGN.plan(of_search, of_confirm), random)
    held_out = Half(np.random.default_rng([seed, 66]), world, NOISE, 20 * of_confirm, of_confirm)
    seeds = (DESIGN.confirm.of_baseline(DESIGN.seeds), DESIGN.seeds)
    arms = zip((world.baseline, cube.values(row)), seeds, strict=True)
    errors = [held_out.errors(values, count) for values, count in arms]
    winner, alone, _ = verdict(held_out, errors, [known_at(model, row)], DESIGN.confirm)
    return winner > 0, alone > 0


CASES: dict[str, tuple[Callable[[World], World], Chosen]] = {
    "on one limit": (partial(on_limits, count=1), fixed),
    "on all limits": (partial(on_limits, count=5), fixed),
    "the adversary's": (lambda world: world, adversary),
}


@pytest.mark.parametrize("world", [SMOOTH, ROUGH], ids=lambda world: world.name)
def test_false_confirmations(world: World) -> None:
    print(f"\n{world.name}: {SEARCHES} searches a case")
    for name, (changed, chosen) in CASES.items():
        with ProcessPoolExecutor(min(2, os.cpu_count() or 1), get_context("spawn")) as pool:
            found = np.array(list(pool.map(partial(confirms, changed(world), chosen), range(SEARCHES), chunksize=20)))
        both, alone = (int(count) for count in found.sum(axis=0))
        print(f"{name:20}{both:6} ({upper(both, SEARCHES):.1%} at most), by held-out speech alone {alone:6}", end="")
        print(f" ({upper(alone, SEARCHES):.1%} at most)")
        assert both <= 0.065 * SEARCHES
        assert alone <= 0.065 * SEARCHES
