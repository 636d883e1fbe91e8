"""Worlds in which a search's truth is known: the rates that settings lead to, and noise on simulated dev halves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from raywce.evaluation.confidence import Speech
from raywce.search.sampler import cube_of
from raywce.selection import search_model
from raywce.selection.limits import Rule
from tests.search.simulated_dev import Dev, Noise
from tests.search.toys import WER, WER_SPACE, Values

Array = NDArray[np.float64]
HIGH = 0.15  # the smooth world's baseline, in each language with a limit


@dataclass(frozen=True)
class World:
    """A problem: rates as fractions by language, the low-resource one first, and each other one's limit.

    Attributes:
        correlated: share of the variance over seeds that all languages have in common.
    """

    name: str
    space: dict[str, BaseDistribution]
    baseline: Values
    rates: Callable[[Values], Mapping[str, float]]
    floors: Mapping[str, float]
    correlated: float = 0.0

    @property
    def languages(self) -> list[str]:
        return ["low", *self.floors]

    @property
    def rules(self) -> list[Rule]:
        return [Rule("baseline", 0.0, floor) for floor in self.floors.values()]

    def excess(self, values: Values) -> float:
        """The largest true excess over a limit."""
        rates, before = self.rates(values), self.rates(self.baseline)
        return max(rates[name] - before[name] - floor for name, floor in self.floors.items())


PLAIN: Values = {"alpha": 1.0, "learning_rate": 1e-5, "strength": 0.0, "ramp_start": 0.0, "adaptive": False}
_FLOORS = {name: -points / 100 for name, points in WER.evaluate(PLAIN).violations.items()}


def _smooth(values: Values) -> dict[str, float]:
    found = WER.evaluate(values)
    high = {name: HIGH + _FLOORS[name] + points / 100 for name, points in found.violations.items()}
    return {"low": found.objective / 100, **high}


def _rough(values: Values) -> dict[str, float]:
    """A weight that makes no difference from 4 on, a kink at the best strength, and a category that matters."""
    weight = min(values["alpha"], 4.0) - 1
    rate = math.log10(values["learning_rate"]) + 5
    kind = {"none": 0.0, "noise": -0.02, "reverb": 0.012}[values["kind"]]
    used = min(values["strength"] / 0.4, 1.0)
    low = 0.42 - 0.075 * (1 - math.exp(-0.9 * weight)) + kind * used
    low += 0.05 * abs(values["strength"] - 0.4) + 0.03 * (rate - 0.5) ** 2 + 0.004 * abs(values["layers"] - 2)
    push = 0.008 * weight * (1 + 0.7 * rate) + 0.006 * max(values["strength"] - 0.5, 0)
    high = {"es": 0.10, "pt": 0.14, "fr": 0.18, "de": 0.12, "en": 0.20}
    harm = {"es": 1.0, "pt": 1.3, "fr": 0.7, "de": 0.9, "en": 0.5}
    reverb = 0.006 if values["kind"] == "reverb" else 0.0
    return {"low": low} | {of: high[of] + harm[of] * push + reverb * used - 0.004 * used for of in high}


SMOOTH = World("smooth", WER_SPACE, PLAIN, _smooth, _FLOORS)
ROUGH = World(
    "rough",
    {
        "alpha": FloatDistribution(1, 8),
        "learning_rate": FloatDistribution(1e-6, 1e-4, log=True),
        "strength": FloatDistribution(0, 1),
        "kind": CategoricalDistribution(["none", "noise", "reverb"]),
        "layers": IntDistribution(0, 4),
    },
    {"alpha": 1.0, "learning_rate": 1e-5, "strength": 0.0, "kind": "none", "layers": 2},
    _rough,
    {"es": 0.012, "pt": 0.012, "fr": 0.012, "de": 0.012, "en": 0.012},
    correlated=0.5,
)


class Half:
    """One half of dev in each language, and what models decode of it."""

    def __init__(self, random: np.random.Generator, world: World, noise: Noise, utterances: int, speakers: int) -> None:
        self.random, self.world, self.noise = random, world, noise
        self.devs = {name: Dev.draw(random, utterances, speakers) for name in world.languages}
        self.shared = {name: dev.shared(random, noise)[0, 0, 0] for name, dev in self.devs.items()}
        self.who = {name: np.unique(dev.speakers, return_inverse=True)[1] for name, dev in self.devs.items()}

    @property
    def words(self) -> Array:
        return np.array([dev.words.sum() for dev in self.devs.values()], float)

    def before(self, baseline: Array) -> search_model.World:
        """What stands before the first trial, by rates (seeds, languages) of the baseline."""
        cube, rules = cube_of(self.world.space), self.world.rules
        speakers = [Speech(dev.words, dev.speakers).talkative_speakers for dev in self.devs.values()]
        return search_model.World(
            low_resource=1,
            rules=rules,
            fixed=np.full(len(rules), np.nan),
            words=self.words,
            baseline=baseline,
            at=cube.row(self.world.baseline),
            choices=cube.choices,
            noise=search_model.Noise.of(baseline, self.words, speakers),
        )

    def errors(self, values: Values, seeds: int) -> dict[str, NDArray[np.int64]]:
        """(seeds, utterances) of each language, by one setting's trainings."""
        noise, names = self.noise, self.world.languages
        common = math.sqrt(self.world.correlated) * self.random.standard_normal((seeds, 1))
        own = math.sqrt(1 - self.world.correlated) * self.random.standard_normal((seeds, len(names)))
        factors = np.exp(noise.seed * (common + own) - noise.seed**2 / 2)
        rates, out = self.world.rates(values), {}
        for column, name in enumerate(names):
            dev, who = self.devs[name], self.who[name]
            suits = np.exp(noise.suits * self.random.standard_normal(who.max() + 1) - noise.suits**2 / 2)[who]
            rate = rates[name] * self.shared[name] * suits * factors[:, column, None]
            decoded = self.random.standard_normal((seeds, len(who)))
            rate = rate * np.exp(noise.decoded * decoded - noise.decoded**2 / 2)
            out[name] = self.random.poisson(rate * dev.words)
        return out

    def rates_of(self, errors: Mapping[str, NDArray[np.int64]]) -> Array:
        """(seeds, languages)."""
        return np.array([errors[name].sum(axis=-1) / dev.words.sum() for name, dev in self.devs.items()]).T

    def rates(self, values: Values, seeds: int) -> Array:
        """(seeds, languages)."""
        return self.rates_of(self.errors(values, seeds))
