"""Simulated word errors of a dev set: utterances, speakers and seeds each add their noise, and the truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the logarithm of an utterance's error rate.

    Attributes:
        utterance, speaker: shared by all models.
        suits: of how well a setting suits a speaker, shared by its seeds.
        seed: of a training, over all utterances.
        decoded: of each training and utterance.
    """

    utterance: float = 0.8
    speaker: float = 0.4
    suits: float = 0.1
    seed: float = 0.05
    decoded: float = 0.5


@dataclass(frozen=True)
class Dev:
    """One language's dev set.

    Attributes:
        words: (n,) reference words.
        speakers: the speaker of each utterance.
    """

    words: Counts
    speakers: list[str]

    @classmethod
    def draw(cls, random: np.random.Generator, utterances: int, speakers: int) -> Dev:
        """Each speaker has an utterance at least, some have many."""
        shares = random.dirichlet(np.full(speakers, 3.0))
        more = random.choice(speakers, utterances - speakers, p=shares)
        who = np.concatenate([np.arange(speakers), more])
        return cls(random.integers(5, 16, utterances), [f"speaker {number}" for number in who])

    def shared(self, random: np.random.Generator, noise: Noise, repetitions: int = 1) -> Array:
        """(repetitions, 1, 1, n) how hard each utterance is for every model, 1 in the mean."""
        people = self._who.max() + 1
        hard = _factor(random, noise.utterance, repetitions, 1, 1, len(self.words))
        return hard * _factor(random, noise.speaker, repetitions, 1, 1, people)[..., self._who]

    def errors(self, random: np.random.Generator, rates: Array, seeds: int, noise: Noise, shared: Array) -> Counts:
        """(repetitions, models, seeds, n) word errors of models whose WER over all speech and seeds is `rates`.

        Every factor has a mean of 1, and errors are Poisson, since insertions know no bound: so the rate is exact.
        """
        repetitions, models, people = len(shared), len(rates), self._who.max() + 1
        rate = rates[:, None, None] * shared
        rate = rate * _factor(random, noise.suits, repetitions, models, 1, people)[..., self._who]
        rate = rate * _factor(random, noise.seed, repetitions, models, seeds, 1)
        rate = rate * _factor(random, noise.decoded, repetitions, models, seeds, len(self.words))
        return random.poisson(rate * self.words)

    @property
    def _who(self) -> Counts:
        return np.unique(self.speakers, return_inverse=True)[1]


def _factor(random: np.random.Generator, sigma: float, *shape: int) -> Array:
    return np.exp(sigma * random.standard_normal(shape) - sigma**2 / 2)
