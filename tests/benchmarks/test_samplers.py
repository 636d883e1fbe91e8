"""How good a point samplers find on constrained toys, and what stopping early saves and costs.

With 60 trials, 4 at once, over 10 seeds; on as many processes as there are cores, at most two.
"""

from __future__ import annotations

import math
import os
import statistics
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import optuna
import pytest
import torch

from tests.benchmarks.toy_searches import METHODS, STOPPING, Result
from tests.search.curves import STEPS
from tests.search.toys import TOYS, WER, WER_MID

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

TRIALS, SEEDS = 60, range(10)
DEFAULT, PEER = "raywce: gp", "Optuna's own GP, with constraints"
STOPPED, RAW = "raywce: tpe + feasible-first ASHA (auto)", "OptunaSearch + ASHA on the raw objective"
WHOLE_GP = "raywce: gp, whole trials"
Task = tuple[str, str, int, int]  # toy, method, seed, trials
Results = dict[str, list[Result]]  # by method, a result a seed


@pytest.mark.parametrize("toy", [toy.name for toy in TOYS])
def test_the_default_sampler_beside_others(toy: str) -> None:
    found = run(toy, METHODS, TRIALS)
    print_table(f"{toy}: {TRIALS} trials, 4 at once, {len(SEEDS)} seeds", found)
    ours, peer = bests(found[DEFAULT]), bests(found[PEER])
    assert statistics.median(ours) <= statistics.median(peer) + spread(peer)
    assert all(math.isfinite(best) for best in ours)
    assert statistics.median(ours) < statistics.median(bests(found["random"]))


@pytest.mark.parametrize("toy", [WER.name, WER_MID.name])
def test_stopping_early_beside_the_raw_objective(toy: str) -> None:
    found = run(toy, [name for name in STOPPING if name != WHOLE_GP], TRIALS)
    # The steps that the stopped trials took, spent on whole ones.
    paid = round(statistics.mean(result.steps for result in found[STOPPED]) / STEPS)
    found[f"{WHOLE_GP}: {paid}"] = run(toy, [WHOLE_GP], paid)[WHOLE_GP]
    print_table(f"{toy} as curves: {TRIALS} trials of {STEPS} reports, 4 at once, {len(SEEDS)} seeds", found)
    assert all(math.isfinite(best) for best in bests(found[STOPPED]))
    assert feasible_runs(found[STOPPED]) > feasible_runs(found[RAW])
    assert statistics.mean(result.steps for result in found[STOPPED]) < 0.6 * TRIALS * STEPS


def run(toy: str, methods: Iterable[str], trials: int) -> Results:
    """Each method from each seed."""
    names = list(methods)
    tasks = [(toy, name, seed, trials) for name in names for seed in SEEDS]
    processes = min(2, len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin) as pool:
        results = list(pool.map(_search, tasks))
    return {name: results[index * len(SEEDS) :][: len(SEEDS)] for index, name in enumerate(names)}


def print_table(title: str, found: Mapping[str, list[Result]]) -> None:
    whole = TRIALS * (STEPS if "curves" in title else 1)
    print(f"\n{title}")
    print(f"{'':44} {'median':>8} {'quartiles':>19} {'feasible':>9} {'steps':>6}")
    for name, results in found.items():
        low, middle, high = quartiles(bests(results))
        steps = statistics.mean(result.steps for result in results) / whole
        runs = f"{feasible_runs(results)}/{len(results)}"
        print(f"{name:44} {middle:8.3f} {low:9.3f} {high:9.3f} {runs:>9} {steps:6.0%}")


def bests(results: Iterable[Result]) -> list[float]:
    return [result.best for result in results]


def feasible_runs(results: Iterable[Result]) -> int:
    return sum(math.isfinite(best) for best in bests(results))


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """With runs that found nothing as the worst ones."""
    ordered = sorted(values)
    return ordered[len(ordered) // 4], statistics.median(ordered), ordered[3 * len(ordered) // 4]


def spread(values: list[float]) -> float:
    """Between the quartiles: by how much runs differ by their seed alone."""
    low, _, high = quartiles(values)
    return high - low


def _begin() -> None:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")


def _search(task: Task) -> Result:
    name, method, seed, trials = task
    toy = next(toy for toy in TOYS if toy.name == name)
    return {**METHODS, **STOPPING}[method](toy, seed, trials)
