"""What is claimed of candidates: each keeps every limit, and its low-resource rate is below the baseline's.

Candidates are tested in their order, each at the full level, until one fails: that one false claim or more is made has
at most the level's probability, as the order does not depend on the evidence. Each is looked at twice, after half of
its trainings and after all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from raywce.evaluation.confidence import Estimate
from raywce.selection.search_model import Difference

_GIVEN_UP = 0.5  # p at the first look from which on a candidate is not worth its other trainings
_HALVES_AGREE = 2.0  # standard errors


@dataclass(frozen=True)
class Evidence:
    """p of "it breaks a limit, or its low-resource rate is not below the baseline's".

    Attributes:
        held_out: by held-out speech alone.
        with_model: by both halves of dev; by held-out speech alone where the search's model can't be trusted.
        trusted: whether the model is, in all claims.
    """

    held_out: float
    with_model: float
    trusted: bool


def evidence(held_out: Estimate, known: Difference, fits: NDArray[np.bool_]) -> Evidence:
    """Return the evidence on one candidate: all claims have to hold (an intersection-union test, Berger 1982).

    Args:
        held_out: by how much each rate is above its limit, and last the objective above the baseline's: (claims,).
        known: the same by the search's model.
        fits: whether the model fits, by claim.
    """
    alone = held_out.p_value()
    trusted = fits & halves_agree(held_out, known)
    both = np.where(trusted, joined(held_out, known).p_value(), alone)
    return Evidence(float(alone.max()), float(both.max()), bool(trusted.all()))


def joined(held_out: Estimate, known: Difference) -> Estimate:
    """Return held-out evidence and the search's, weighted by their precision: (claims,)."""
    variance = held_out.speech_variance + held_out.seed_variance
    share = variance / (variance + known.variance)  # of the search's
    return Estimate(
        value=share * known.mean + (1 - share) * held_out.value,
        speech_variance=(1 - share) ** 2 * held_out.speech_variance + share**2 * known.variance,
        speech_df=held_out.speech_df,
        seed_variance=(1 - share) ** 2 * held_out.seed_variance,
        seed_df=held_out.seed_df,
    )


def halves_agree(held_out: Estimate, known: Difference) -> NDArray[np.bool_]:
    """Return where the search's is no better than held-out evidence by more than two standard errors: (claims,)."""
    variance = held_out.speech_variance + held_out.seed_variance + known.variance
    agree: NDArray[np.bool_] = held_out.value - known.mean <= _HALVES_AGREE * np.sqrt(variance)
    return agree


class State(Enum):
    """How far a candidate is."""

    OPEN, CONFIRMED, FAILED = "open", "confirmed", "failed"


@dataclass(frozen=True)
class Looks:
    """Two looks at candidates, at bounds that spend the level as O'Brien & Fleming do (Lan & DeMets 1983).

    Attributes:
        trainings: of each candidate, at the second look.
        confidence: of the claims on one candidate.
    """

    trainings: int
    confidence: float

    @property
    def first(self) -> int:
        """Trainings of each candidate at the first look."""
        return (self.trainings + 1) // 2

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """p up to which a candidate is confirmed, at the first look and at the second."""
        level, share = 1 - self.confidence, self.first / self.trainings
        first = 2 * norm.sf(norm.isf(level / 2) / np.sqrt(share))
        both = multivariate_normal(cov=[[1, np.sqrt(share)], [np.sqrt(share), 1]], seed=0)
        # The same speech is heard twice, so that the looks have more in common than that: which only makes it safer.
        below = brentq(lambda z: both.cdf([norm.isf(first), z]) - self.confidence, 0.0, 8.0, xtol=1e-6)
        return float(first), float(norm.sf(below))

    def states(self, first: Sequence[float], second: Sequence[float]) -> list[State]:
        """Return the states after both looks, by the p of each candidate."""
        return [
            self.after_first(p) if self.after_first(p) is not State.OPEN else self._after_second(last)
            for p, last in zip(first, second, strict=True)
        ]

    def after_first(self, p: float) -> State:
        """Return the state of a candidate with that p at the first look."""
        if p <= self.bounds[0]:
            return State.CONFIRMED
        return State.FAILED if p > _GIVEN_UP else State.OPEN

    def confirmed(self, first: Sequence[Evidence], last: Sequence[Evidence]) -> tuple[int, int]:
        """Return how many candidates are confirmed after both looks: by held-out speech alone, and with the model.

        The former are among the latter: where either counted, two tests would make more false claims than one.
        """
        held_out = confirmed(self.states([one.held_out for one in first], [one.held_out for one in last]))
        with_model = confirmed(self.states([one.with_model for one in first], [one.with_model for one in last]))
        return min(held_out, with_model), with_model

    def wants_more(self, found: Sequence[Evidence]) -> list[bool]:
        """Return which candidates their other trainings can still decide, by the evidence of the first look."""
        alone = [self.after_first(one.held_out) for one in found]
        both = [self.after_first(one.with_model) for one in found]
        end = next((number for number, state in enumerate(both) if state is State.FAILED), len(found))
        return [
            number < end
            and (both[number] is State.OPEN or (alone[number] is State.OPEN and State.FAILED not in alone[:number]))
            for number in range(len(found))
        ]

    def _after_second(self, p: float) -> State:
        return State.CONFIRMED if p <= self.bounds[1] else State.FAILED


def confirmed(states: Sequence[State]) -> int:
    """Return how many candidates are confirmed: all before the first one that is not."""
    return next((number for number, state in enumerate(states) if state is not State.CONFIRMED), len(states))
