"""What `raywce validate` says of a search's power, beside confirm phases on simulated word errors, over many cases."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context

import numpy as np
import pytest

from raywce.evaluation.confidence import Speech
from raywce.experiment.schema import Confirm
from raywce.selection.candidates import Known
from raywce.selection.power import SEEDS, HeldOut, power
from tests.benchmarks.simulated_searches import verdict
from tests.benchmarks.simulated_worlds import Half, World
from tests.search.simulated_dev import Noise
from tests.search.toys import Values

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(7200)]

PHASES = int(os.environ.get("RAYWCE_SEARCHES", "200"))
LOW, HIGH = 0.40, 0.15
NOTHING = Known([0.0] * 4, [1e6] * 4, [False] * 4)  # of the search: held-out speech alone decides


@dataclass(frozen=True)
class Case:
    """A true gain and a limit, fractions, and what dev's held-out part has of each language."""

    gain: float
    limit: float
    speakers: int
    utterances: int
    seeds: int

    def __str__(self) -> str:
        return (
            f"-{100 * self.gain:g} points, limits of {100 * self.limit:g}, {self.speakers} speakers, "
            f"{self.utterances} utterances, {self.seeds} seeds"
        )

    def rates(self, values: Values) -> dict[str, float]:
        return {"low": LOW - self.gain * values["candidate"], "es": HIGH, "pt": HIGH, "fr": HIGH}

    @property
    def world(self) -> World:
        return World("flat", {}, {"candidate": 0}, self.rates, dict.fromkeys(("es", "pt", "fr"), self.limit))


CASES = [
    Case(gain, limit, speakers, 20 * speakers, seeds)
    for gain, limit, speakers, seeds in product((0.01, 0.02, 0.04), (0.01, 0.02), (30, 100, 300), (4, 8))
]


def confirmed(case: Case, seed: int) -> bool:
    """Whether one confirm phase confirms it by held-out speech."""
    half = Half(np.random.default_rng([seed, 3]), case.world, Noise(seed=SEEDS), case.utterances, case.speakers)
    errors = [half.errors({"candidate": number}, case.seeds) for number in (0, 1)]
    return verdict(half, errors, [NOTHING], Confirm(candidates=1, seeds=case.seeds))[1] > 0


def stated(case: Case) -> float:
    """The chance by the statement, of what one such dev split has."""
    half = Half(np.random.default_rng([0, 3]), case.world, Noise(), case.utterances, case.speakers)
    held = {
        name: HeldOut(len(dev.words), int(dev.words.sum()), Speech(dev.words, dev.speakers).talkative_speakers, rate)
        for (name, dev), rate in zip(half.devs.items(), (LOW, HIGH, HIGH, HIGH), strict=True)
    }
    low = held.pop("low")
    rules = dict(zip(held, case.world.rules, strict=True))
    return power([low], held, rules, [case.seeds] * 2, 0.95, [100 * case.gain]).chances[100 * case.gain]


def test_the_statement_is_what_confirm_phases_do() -> None:
    print(f"\n{PHASES} confirm phases a case")
    off = []
    for case in CASES:
        with ProcessPoolExecutor(min(2, os.cpu_count() or 1), get_context("spawn")) as pool:
            share = float(np.mean(list(pool.map(partial(confirmed, case), range(PHASES), chunksize=20))))
        said = stated(case)
        off.append(said - share)
        print(f"{case!s:75} said {said:6.1%}, found {share:6.1%}")
    print(f"off by {np.abs(off).max():.1%} at most, {np.mean(off):+.1%} on average")
    assert np.abs(off).max() <= 0.1 + 2 * np.sqrt(0.25 / PHASES)
