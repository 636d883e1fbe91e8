"""A simulated search by point estimates: the best three feasible trials are tested at once, each over six seeds."""

from __future__ import annotations

from operator import sub
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.samplers import GPSampler

from raywce.evaluation.confidence import Estimate, Rates, Speech, over_speech
from tests.benchmarks.simulated_searches import RESAMPLES, Ending
from tests.benchmarks.simulated_worlds import Half, World
from tests.search.simulated_dev import Noise
from tests.search.toys import Values

Array = NDArray[np.float64]
BASELINE_SEEDS, TRIALS, SEEDS, CANDIDATES, LEVEL = 3, 30, 6, 3, 0.05


def best_three(world: World, noise: Noise, speakers: int, seed: int) -> Ending:
    """One whole search by Optuna's Gaussian process, which knows the constraints; Holm's correction in the end."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    best = _best(world, Half(np.random.default_rng([seed, 77]), world, noise, 20 * speakers, speakers), seed)
    nothing = Ending(np.nan, np.nan, np.nan, np.nan, (), BASELINE_SEEDS + TRIALS + SEEDS * (1 + CANDIDATES))
    if not best:
        return nothing
    half = Half(np.random.default_rng([seed, 99]), world, noise, 20 * speakers, speakers)
    keeps, better, low = _tested(half, best)
    confirmed = np.flatnonzero(np.maximum(keeps, better) <= LEVEL)
    if not len(confirmed):
        return nothing
    values = best[confirmed[low[confirmed].argmin()]]
    truth = 100 * world.rates(values)["low"], 100 * world.excess(values)
    return Ending(*truth, *truth, (), nothing.trainings)


def _best(world: World, half: Half, seed: int) -> list[Values]:
    """The best feasible trials by what was measured."""
    reference = half.rates(world.baseline, BASELINE_SEEDS).mean(axis=0)
    study = optuna.create_study(sampler=GPSampler(seed=seed))
    feasible = []
    for _ in range(TRIALS):
        trial = study.ask(fixed_distributions=world.space)
        rates = half.rates(trial.params, 1)[0]
        excesses = [rule.excess(*pair) for rule, *pair in zip(world.rules, rates[1:], reference[1:], strict=True)]
        for name, excess in zip(world.floors, excesses, strict=True):
            trial.set_constraint(name, 100 * float(excess))
        study.tell(trial, float(rates[0]))
        if max(excesses) <= 0:
            feasible.append((float(rates[0]), trial.number, trial.params))
    return [values for *_, values in sorted(feasible)[:CANDIDATES]]


def _tested(half: Half, candidates: list[Values]) -> tuple[Array, Array, Array]:
    """p of breaking a limit and of being no better, adjusted for the candidates, and their low-resource rates."""
    errors = [half.errors(values, SEEDS) for values in (half.world.baseline, *candidates)]
    found = []
    for name, rule in zip([*half.world.floors, "low"], [*half.world.rules, None], strict=True):
        dev = half.devs[name]
        arms = [Speech(dev.words, dev.speakers, RESAMPLES, 1).rates(one[name]) for one in errors]
        found.append([_estimate(rule.excess if rule else sub, arm, arms[0]) for arm in arms[1:]])
    p = np.array([[float(one.p_value()) for one in of] for of in found])
    breaks = p[:-1].max(axis=0)
    low = np.array([one["low"].sum() for one in errors[1:]], float)
    return _holm(breaks), _holm(np.maximum(breaks, p[-1])), low


def _estimate(statistic: Any, one: Rates, other: Rates) -> Estimate:
    """The variance between seeds is that of these seeds' differences."""
    of_speech, by_seed = over_speech(statistic, one, other), statistic(one.observed, other.observed)
    return Estimate(of_speech.value, of_speech.variance, of_speech.df, by_seed.var(ddof=1) / SEEDS, SEEDS - 1)


def _holm(p: Array) -> Array:
    """Adjusted p (Holm 1979)."""
    order = np.argsort(p)
    adjusted = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    out = np.empty_like(p)
    out[order] = adjusted
    return out
