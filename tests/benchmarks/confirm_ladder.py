"""The ladder of the confirm phase: candidates from safe to bold, and how far up it they are confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from raywce.evaluation.confidence import Estimate
from raywce.selection.acquisition import lowest_with
from raywce.selection.search_model import Difference, Plan, SearchModel
from raywce.surrogate.cube import Cube

Array = NDArray[np.float64]

STEPS = ((0.8, False), (0.6, True), (0.3, True))  # chance of being confirmed, and whether with the search's model
FIRST_LOOK, LAST_LOOK = 0.0056, 0.0483  # of 0.05: O'Brien-Fleming's by Lan & DeMets (1983), at half and all seeds
_GIVEN_UP = 0.5  # p at the first look from which on a rung is not worth its other seeds
_HALVES_AGREE = 2.0  # standard errors


@dataclass(frozen=True)
class Rung:
    """One candidate.

    Attributes:
        row: (axes,) its setting.
        chance: of being confirmed, by the search.
        with_model: whether that is by both halves of dev, or by held-out speech alone.
        known: by how much it is above each limit, and its objective above the baseline's, by the search.
    """

    row: Array
    chance: float
    with_model: bool
    known: Difference


def ladder(
    model: SearchModel,
    cube: Cube,
    known: Array,
    plan: Plan,
    random: np.random.Generator,
    steps: Sequence[tuple[float, bool]] = STEPS,
) -> list[Rung]:
    """Return the candidates, safest first; steps that no setting reaches, or that bring nothing more, are left out."""
    found: list[Rung] = []
    for chance, with_model in steps:
        row = lowest_with(model, cube, known, plan, chance, with_model, random)
        reached = float(model.chance(row[None], plan, with_model)[0])
        means, variances = model.excesses(row[None])
        rung = Rung(row, reached, with_model, Difference(means[0], variances[0]))
        # The first stays though it may be out of reach: without it there is nothing to confirm.
        if not found or (reached >= chance and _gains(rung, found[-1])):
            found.append(rung)
    return found


def _gains(rung: Rung, before: Rung) -> bool:
    """Return whether a rung's objective is lower than the one's before it at all."""
    return bool(rung.known.mean[-1] < before.known.mean[-1] and (rung.row != before.row).any())


def joined(held_out: Estimate, known: Difference) -> Estimate:
    """Return held-out evidence and the search's, weighted by their precision; arrays are (claims,)."""
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


@dataclass(frozen=True)
class Judged:
    """p of "it breaks a limit, or its objective is not below the baseline's".

    Attributes:
        held_out: by held-out speech alone.
        with_model: by both halves; the same where the search's model can't be trusted there.
        trusted: whether it could.
    """

    held_out: float
    with_model: float
    trusted: bool


def judge(held_out: Estimate, known: Difference, fits: NDArray[np.bool_]) -> Judged:
    """Judge a rung by estimates of all its claims (claims,): each has to hold (an intersection-union test)."""
    alone = held_out.p_value()
    trusted = fits & halves_agree(held_out, known)
    both = np.where(trusted, joined(held_out, known).p_value(), alone)
    return Judged(float(alone.max()), float(both.max()), bool(trusted.all()))


class State(Enum):
    """How far a rung is."""

    OPEN, CONFIRMED, FAILED = "open", "confirmed", "failed"


def after_first_look(p: float) -> State:
    """Return what half of the seeds decide."""
    if p <= FIRST_LOOK:
        return State.CONFIRMED
    return State.FAILED if p > _GIVEN_UP else State.OPEN


def after_last_look(first: State, p: float) -> State:
    """Return what all seeds decide."""
    if first is not State.OPEN:
        return first
    return State.CONFIRMED if p <= LAST_LOOK else State.FAILED


def confirmed(states: Sequence[State]) -> int | None:
    """Return the highest rung up to which all are confirmed: each is tested at the full level, until one fails.

    Their order follows from the search alone, so that one false claim or more has at most the level's probability.
    """
    failed = next((number for number, state in enumerate(states) if state is not State.CONFIRMED), len(states))
    return failed - 1 if failed else None
