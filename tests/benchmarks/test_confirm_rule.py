"""The confirm rule by itself on simulated word errors whose truth is known: false winners, and power.

A false winner breaks a limit in truth: here one language's WER stands exactly on its limit, where the rule may let
through as many as its level. Beside it, the point estimate that a search goes by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from raywce.evaluation.confidence import Measurement, Speech, measure
from raywce.selection.claims import NONE, claims
from raywce.selection.limits import Rule
from tests.search.simulated_dev import Dev, Noise

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

CONFIDENCE, SEEDS = 0.95, 3
AT_ONCE, RESAMPLES = 100, 300
HIGH, LOW = 0.15, 0.50  # WERs of the baseline
FLOOR = 0.01
LARGEST_SHARE = 0.065  # of false winners, at a level of 0.05


@dataclass(frozen=True)
class World:
    """How much speech there is, and how far above the baseline's WERs a candidate's are, in truth."""

    name: str
    utterances: int
    speakers: int
    candidates: int
    noise: Noise
    rises: tuple[float, ...]  # of the high-resource languages
    gain: float = -0.05


def _difference(rate: Any, other: Any) -> Any:
    return rate - other


def _excess(rate: Any, other: Any) -> Any:
    return Rule("baseline", 0.0, FLOOR).excess(rate, other)


def _measured(world: World, random: np.random.Generator, wer: float, rise: float, statistic: Any) -> Measurement:
    dev = Dev.draw(random, world.utterances, world.speakers)
    rates = np.array([wer, *[wer + rise] * world.candidates])
    errors = dev.errors(random, rates, SEEDS, world.noise, dev.shared(random, world.noise, AT_ONCE))
    found = Speech(dev.words, dev.speakers, RESAMPLES, int(random.integers(2**31))).rates(errors)
    return measure(statistic, found[:, 1:], found[:, :1])


def shares(world: World, repetitions: int) -> tuple[float, float, float]:
    """Of all repetitions, how many have a winner, one that is called better, and one by the point estimate."""
    random, found = np.random.default_rng(11), []
    for _ in range(repetitions // AT_ONCE):
        excesses = [_measured(world, random, HIGH, rise, _excess) for rise in world.rises]
        gain = _measured(world, random, LOW, world.gain, _difference)
        claimed = claims(excesses, gain, LOW + gain.value)
        by_point = np.all([one.value <= 0 for one in excesses], axis=0).any(axis=-1)
        winner = claimed.winner(CONFIDENCE)
        better = (winner != NONE) & (np.take_along_axis(claimed.better, winner[:, None], 1)[:, 0] <= 1 - CONFIDENCE)
        found.append([(winner != NONE).mean(), better.mean(), by_point.mean()])
    mean = np.mean(found, axis=0)
    return float(mean[0]), float(mean[1]), float(mean[2])


BOUNDARY = (FLOOR,)
FALSE = [
    World("1,000 utterances, 100 speakers, 1 candidate", 1000, 100, 1, Noise(), BOUNDARY),
    World("1,000 utterances, 100 speakers, 3 candidates", 1000, 100, 3, Noise(), BOUNDARY),
    World("the same, seeds differ much", 1000, 100, 3, Noise(seed=0.2), BOUNDARY),
    World("the same, seeds hardly differ", 1000, 100, 3, Noise(seed=0.01, suits=0.0), BOUNDARY),
    World("the same, settings suit speakers", 1000, 100, 3, Noise(suits=0.3), BOUNDARY),
    World("the same, four more languages within limits", 1000, 100, 3, Noise(), (FLOOR, -0.05, -0.05, -0.05, -0.05)),
    World("100 utterances, 10 speakers, 3 candidates", 100, 10, 3, Noise(), BOUNDARY),
]
TRUE = [
    World("limits kept by 1 point, 1,000 utterances", 1000, 100, 3, Noise(), (0.0,)),
    World("limits kept by 3 points, 1,000 utterances", 1000, 100, 3, Noise(), (-0.02,)),
    World("limits kept by 6 points, 1,000 utterances", 1000, 100, 3, Noise(), (-0.05,)),
    World("limits kept by 6 points, 100 utterances", 100, 10, 3, Noise(), (-0.05,)),
]


def test_false_winners_and_power() -> None:
    print(f"\nshare of repetitions, confidence {CONFIDENCE}, {SEEDS} seeds")
    print(f"{'':48}{'winner':>9}{'better':>9}{'by point':>10}")
    largest = 0.0
    for world in FALSE:
        winner, better, by_point = shares(world, 4000)
        print(f"false: {world.name:41}{winner:9.3f}{better:9.3f}{by_point:10.3f}")
        largest = max(largest, winner)
        assert by_point > 0.4
    for world in TRUE:
        winner, better, by_point = shares(world, 1000)
        print(f"true:  {world.name:41}{winner:9.3f}{better:9.3f}{by_point:10.3f}")
    assert largest <= LARGEST_SHARE
