"""Whole searches in simulated worlds, by the package's own rules: what is claimed at the end, and the truth of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import sub
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raywce.evaluation.confidence import Estimate, Rates, Speech
from raywce.search.sampler import cube_of
from raywce.selection.acquisition import next_setting
from raywce.selection.search_model import Plan, SearchModel
from tests.benchmarks.confirm_ladder import (
    STEPS,
    Judged,
    State,
    after_first_look,
    after_last_look,
    confirmed,
    judge,
    ladder,
)
from tests.benchmarks.simulated_worlds import Half, World
from tests.search.simulated_dev import Noise

Array = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True)
class Design:
    """How many trainings a search spends on what."""

    baseline_seeds: int = 8
    trials: int = 25
    startup: int = 6
    seeds: tuple[int, ...] = (7, 7, 5, 5)  # of the baseline, and of each rung
    looks: bool = True
    share: float = 0.6
    steps: tuple[tuple[float, bool], ...] = STEPS


@dataclass(frozen=True)
class Ending:
    """What a search came to: of the highest rung confirmed, in points; NaN where none is.

    Attributes:
        rung, held_out: the highest confirmed with the search's model, and by held-out speech alone.
        low, excess: true low-resource rate, and the largest true excess over a limit, of `rung`; and of `held_out`.
        trusted: rungs whose search evidence was used.
        trainings: that it took.
    """

    rung: int | None
    held_out: int | None
    low: float
    low_held_out: float
    excess: float
    excess_held_out: float
    trusted: int
    rungs: int
    trainings: int


def searched(world: World, noise: Noise, speakers: int, design: Design, seed: int) -> Ending:
    """One whole search."""
    random = np.random.default_rng([seed, 77])
    of_search, of_confirm = (round(2 * speakers * share) for share in (1 - design.share, design.share))
    half = Half(random, world, noise, 20 * of_search, of_search)
    cube = cube_of(world.space)
    baseline = half.rates(world.baseline, design.baseline_seeds)
    before = half.before(baseline)
    plan = Plan(design.seeds[1], design.seeds[0], speech=of_search / of_confirm)
    first = cube.even(design.startup, random)
    rows, rates = np.empty((0, len(cube.axes))), np.empty((0, len(world.languages)))
    for number in range(design.trials):
        if number < design.startup:
            row = first[number]
        else:
            row = next_setting(SearchModel.fit(before, rows, rates), cube, rows, plan, random)
        rows = np.vstack([rows, row])
        rates = np.vstack([rates, half.rates(cube.values(row), 1)])
    model = SearchModel.fit(before, rows, rates)
    fits = model.fits()
    rungs = ladder(model, cube, rows, plan, random, design.steps)
    confirm = Half(np.random.default_rng([seed, 99]), world, noise, 20 * of_confirm, of_confirm)
    arms = [world.baseline, *(cube.values(rung.row) for rung in rungs)]
    errors = [confirm.errors(values, seeds) for values, seeds in zip(arms, design.seeds, strict=False)]
    looks = [[seeds // 2 + seeds % 2 for seeds in design.seeds], design.seeds] if design.looks else [design.seeds]
    judged = [
        [
            judge(estimate, rung.known, fits)
            for rung, estimate in zip(rungs, _estimates(confirm, errors, n), strict=True)
        ]
        for n in looks
    ]
    both = _highest([[one.with_model for one in of] for of in judged], design.looks)
    alone = _highest([[one.held_out for one in of] for of in judged], design.looks)

    def truth(rung: int | None) -> tuple[float, float]:
        values = None if rung is None else arms[1 + rung]
        return (np.nan, np.nan) if values is None else (100 * world.rates(values)["low"], 100 * world.excess(values))

    (low, excess), (low_alone, excess_alone) = truth(both), truth(alone)
    trusted = sum(one.trusted for one in judged[-1])
    going_on = _going_on(judged[0]) if design.looks else [True] * len(rungs)
    spent = [looks[-1][1 + k] if goes_on else looks[0][1 + k] for k, goes_on in enumerate(going_on)]
    spent.append(looks[-1][0] if any(going_on) else looks[0][0])
    cost = design.baseline_seeds + design.trials + sum(spent)
    return Ending(both, alone, low, low_alone, excess, excess_alone, trusted, len(rungs), cost)


def _highest(looks: list[list[float]], two: bool) -> int | None:
    if not two:
        return confirmed([State.CONFIRMED if p <= 0.05 else State.FAILED for p in looks[0]])
    first = [after_first_look(p) for p in looks[0]]
    return confirmed([after_last_look(state, p) for state, p in zip(first, looks[1], strict=True)])


def _going_on(judged: Sequence[Judged]) -> list[bool]:
    """Which rungs the other half of the seeds can still decide, with the search's model or by held-out speech alone."""
    of_ps = ([one.with_model for one in judged], [one.held_out for one in judged])
    found = []
    for number in range(len(judged)):
        states = [[after_first_look(p) for p in ps[: number + 1]] for ps in of_ps]
        found.append(any(of[-1] is State.OPEN and State.FAILED not in of for of in states))
    return found


def _estimates(half: Half, arms: list[Mapping[str, NDArray[np.int64]]], seeds: Sequence[int]) -> list[Estimate]:
    """Of each candidate, over the first seeds: its excess over each limit, and last its gain."""
    found: list[list[Estimate]] = []
    world = half.world
    for name, rule in zip([*world.floors, "low"], [*world.rules, None], strict=True):
        dev = half.devs[name]
        stacked = np.concatenate([arm[name][:n] for arm, n in zip(arms, seeds, strict=False)])
        ends = np.cumsum([0, *seeds[: len(arms)]])
        rates: Rates = Speech(dev.words, dev.speakers, RESAMPLES, 1).rates(stacked)
        of = [rates[start:end] for start, end in pairwise(ends)]
        found.append(arm_estimates(of, rule.excess if rule else sub))
    return [
        Estimate(
            *(
                np.array([getattr(one[k], name) for one in found])
                for name in ("value", "speech_variance", "speech_df", "seed_variance")
            ),
            found[0][0].seed_df,
        )
        for k in range(len(arms) - 1)
    ]


def arm_estimates(arms: Sequence[Rates], statistic: Any) -> list[Estimate]:
    """Of each arm against the first."""
    freedom = sum(len(arm.observed) - 1 for arm in arms)
    means = np.array([arm.observed.mean() for arm in arms])
    relative = sum(((arm.observed / mean - 1) ** 2).sum() for arm, mean in zip(arms, means, strict=True)) / freedom
    own = []
    for way in range(len(arms[0].ways)):
        total = 0.0
        for arm, mean in zip(arms, means, strict=True):
            drawn = arm.ways[way].rates
            off = drawn - drawn.mean(axis=0)
            total += float(off.var(axis=-1).sum() / mean**2)
        own.append(total / freedom)
    of_seeds = max(relative - min(own), 0.0)
    out = []
    for arm, mean in zip(arms[1:], means[1:], strict=True):
        value = np.asarray(statistic(mean, means[0]))
        ways = []
        for way in range(len(arms[0].ways)):
            drawn = statistic(arm.ways[way].rates.mean(axis=0), arms[0].ways[way].rates.mean(axis=0))
            count = arm.ways[way].count
            ways.append((drawn.var() * count / (count - 1), count - 1))
        variance, df = max(ways)
        seeds = of_seeds * (mean**2 / len(arm.observed) + means[0] ** 2 / len(arms[0].observed))
        out.append(Estimate(value, np.asarray(variance), np.asarray(float(df)), np.asarray(seeds), freedom))
    return out
