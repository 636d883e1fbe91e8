"""Candidates of the confirm phase: settings, trained before or not, from safe to bold, by the search's model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raywce.experiment.space import Scalar
from raywce.selection.acquisition import lowest_with
from raywce.selection.search_model import Array, Difference, Plan, SearchModel
from raywce.surrogate.cube import Cube

STEPS = ((0.8, False), (0.8, True), (0.5, True))
"""Probability of being confirmed, and whether with the search's model, that each candidate has to have."""

WORTH = 0.2
"""Probability from which on the safest setting is trained, though it is below the first step's."""

_LEAST_STEP = 0.25  # standard errors of a gain, by which the next candidate is expected to be better


@dataclass(frozen=True)
class Known:
    """What the search knows of one candidate: by how much each rate is above its limit, and the gain, as fractions.

    Attributes:
        mean: of each language with a limit, and last of the low-resource ones against the baseline.
        variance: of each.
        fits: whether the search's model fits the trials there.
    """

    mean: list[float]
    variance: list[float]
    fits: list[bool]

    @property
    def difference(self) -> Difference:
        """The same as arrays (claims,)."""
        return Difference(np.array(self.mean), np.array(self.variance))

    @property
    def fit(self) -> NDArray[np.bool_]:
        """`fits` as an array (claims,)."""
        return np.array(self.fits)


@dataclass(frozen=True)
class Candidate:
    """A setting that is to be confirmed.

    Attributes:
        name: such as `candidate-1`, from safe to bold.
        values: key path to value, of the searched leaves.
        chance: of being confirmed, as the search saw it.
        with_model: whether that is by both halves of dev, or by held-out speech alone.
        known: by the rate that decides.
        plain: by the plain rate, where the capped one decides.
    """

    name: str
    values: dict[str, Scalar]
    chance: float
    with_model: bool
    known: Known
    plain: Known | None = None


@dataclass(frozen=True)
class Proposal:
    """One candidate's setting.

    Attributes:
        row: (axes,) of the space.
        chance: of being confirmed, by the search's model.
        with_model: whether that is by both halves of dev, or by held-out speech alone.
        objective: its mean low-resource rate above the baseline's, a fraction.
    """

    row: Array
    chance: float
    with_model: bool
    objective: float


def propose(
    model: SearchModel,
    cube: Cube,
    known: Array,
    plan: Plan,
    random: np.random.Generator,
    steps: Sequence[tuple[float, bool]] = STEPS,
    only_known: bool = False,
) -> list[Proposal]:
    """Return the candidates, safest first: of each step the setting with the lowest mean low-resource rate.

    A step that no setting reaches, or that lowers the rate by less than the confirm phase can tell, is left out: a
    quarter of the standard error of its difference from the baseline. The first stays where its
    probability is at least `WORTH`. If no step is left, it is the setting that both halves of dev will confirm most
    probably: without it there is nothing to confirm.

    Args:
        model: of the finished search.
        cube: the space.
        known: (n, axes) settings that were tried.
        plan: of the confirm phase.
        random: of the draws.
        steps: as `STEPS`.
        only_known: propose no setting that was not tried.
    """

    def proposed(chance: float, with_model: bool) -> Proposal:
        row = lowest_with(model, cube, known, plan, chance, with_model, random, only_known)
        reached = float(model.chance(row[None], plan, with_model)[0])
        return Proposal(row, reached, with_model, float(model.excesses(row[None]).mean[0, -1]))

    least = _LEAST_STEP * model.gain_error(plan)
    found: list[Proposal] = []
    for number, (chance, with_model) in enumerate(steps):
        proposal = proposed(chance, with_model)
        enough = WORTH if number == 0 else chance
        if proposal.chance >= enough and (not found or _is_bolder(proposal, found[-1], least)):
            found.append(proposal)
    return found or [proposed(1.0, True)]


def _is_bolder(one: Proposal, before: Proposal, least: float) -> bool:
    return one.objective < before.objective - least and bool((one.row != before.row).any())


def known_at(model: SearchModel, row: Array) -> Known:
    """Return what a search's model knows of the setting at a row (axes,)."""
    mean, variance = model.evidence(row[None])
    return Known(mean[0].tolist(), variance[0].tolist(), model.fits().tolist())
