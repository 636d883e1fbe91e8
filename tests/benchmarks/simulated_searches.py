"""Whole searches in simulated worlds, by the package's own rules: what is claimed at the end, and the truth of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import sub

import numpy as np
from numpy.typing import NDArray

from raywce.evaluation.arms import Arms, at_the_limit
from raywce.evaluation.confidence import Estimate, Rates, Speech
from raywce.experiment.schema import Confirm
from raywce.search.sampler import LOOKS_FAR, cube_of
from raywce.selection import search_model
from raywce.selection.acquisition import next_setting
from raywce.selection.candidates import STEPS, Known, known_at, propose
from raywce.selection.claims import Evidence, Looks, evidence
from raywce.selection.search_model import Difference, Plan, SearchModel
from tests.benchmarks.simulated_worlds import Half, World
from tests.search.simulated_dev import Noise

Array = NDArray[np.float64]
Errors = Mapping[str, NDArray[np.int64]]
RESAMPLES = 1000


@dataclass(frozen=True)
class Design:
    """How much a search spends on what: trainings of baseline, trials, and each candidate of the confirm phase.

    Attributes:
        share: of dev, that is held out of the search.
        knowing: candidates are proposed by one who knows the truth; the evidence is as ever.
    """

    baseline_seeds: int = 6
    trials: int = 27
    startup: int = 6
    seeds: int = 5
    share: float = 0.5
    steps: tuple[tuple[float, bool], ...] = STEPS
    knowing: bool = False

    @property
    def confirm(self) -> Confirm:
        """Its confirm phase."""
        return Confirm(candidates=len(self.steps), seeds=self.seeds)

    def plan(self, of_search: int, of_confirm: int) -> Plan:
        """What the confirm phase will measure, by so many speakers of either part of dev."""
        return Plan(self.seeds, self.confirm.of_baseline(self.seeds), speech=of_search / of_confirm)


@dataclass(frozen=True)
class Knowing(SearchModel):
    """A search's model whose rates are the true ones: what it proposes, no search can better by much."""

    truth: World

    def objective(self, z: Array) -> Difference:
        low = self._rates(z)[:, 0]
        return Difference(low, np.zeros_like(low))

    def excesses(self, z: Array) -> Difference:
        world = self.truth
        rates, before = self._rates(z), np.array([*world.rates(world.baseline).values()])
        rises = rates - before - np.array([0.0, *world.floors.values()])
        mean = np.c_[rises[:, 1:], rises[:, 0]]
        return Difference(mean, np.zeros_like(mean))

    def _rates(self, z: Array) -> Array:
        cube = cube_of(self.truth.space)
        return np.array([[*self.truth.rates(cube.values(row)).values()] for row in z])


@dataclass(frozen=True)
class Ending:
    """What a search came to, in points; NaN where nothing is confirmed.

    Attributes:
        low, excess: of the winner: true low-resource rate, and the largest true excess over a limit.
        low_held_out, excess_held_out: of the last candidate that is confirmed by held-out speech alone.
        chances: of each candidate, as the search saw it.
        trainings: that it took.
    """

    low: float
    excess: float
    low_held_out: float
    excess_held_out: float
    chances: tuple[float, ...]
    trainings: int


def searched(design: Design, world: World, noise: Noise, speakers: int, seed: int) -> Ending:
    """One whole search; `speakers` is the mean over both parts of dev."""
    random = np.random.default_rng([seed, 77])
    of_search, of_confirm = (round(2 * speakers * share) for share in (1 - design.share, design.share))
    half = Half(random, world, noise, 20 * of_search, of_search)
    plan = design.plan(of_search, of_confirm)
    model, rows = _model(half, design, plan, random)
    cube = cube_of(world.space)
    proposing = Knowing(model.world, model.processes, world) if design.knowing else model
    proposed = propose(proposing, cube, rows, plan, random, design.steps)
    confirm = Half(np.random.default_rng([seed, 99]), world, noise, 20 * of_confirm, of_confirm)
    arms = [world.baseline, *(cube.values(one.row) for one in proposed)]
    seeds = [plan.baseline_seeds, *[design.seeds] * len(proposed)]
    errors = [confirm.errors(values, count) for values, count in zip(arms, seeds, strict=True)]
    winner, held_out, spent = verdict(confirm, errors, [known_at(model, one.row) for one in proposed], design.confirm)

    def truth(number: int) -> tuple[float, float]:
        values = arms[number]
        return (100 * world.rates(values)["low"], 100 * world.excess(values)) if number else (np.nan, np.nan)

    chances = tuple(one.chance for one in proposed)
    return Ending(*truth(winner), *truth(held_out), chances, design.baseline_seeds + design.trials + spent)


def _model(half: Half, design: Design, plan: Plan, random: np.random.Generator) -> tuple[SearchModel, Array]:
    """Return what a search knows in the end, and the settings that it tried."""
    world, cube = half.world, cube_of(half.world.space)
    baseline = half.errors(world.baseline, design.baseline_seeds)
    before = half.before(half.rates_of(baseline))
    first = cube.even(design.startup, random)
    rows, rates, decoded = np.empty((0, len(cube.axes))), np.empty((0, len(world.languages))), []
    for number in range(design.trials):
        if number < design.startup:
            row = first[number]
        else:
            now = plan if number >= LOOKS_FAR * design.trials else None
            row = next_setting(SearchModel.fit(before, rows, rates), cube, rows, random, now)
        decoded.append(half.errors(cube.values(row), 1))
        rows, rates = np.vstack([rows, row]), np.vstack([rates, half.rates_of(decoded[-1])])
    return SearchModel.fit(with_suits(half, before, baseline, decoded), rows, rates), rows


def with_suits(
    half: Half, before: search_model.World, baseline: Errors, trials: Sequence[Errors]
) -> search_model.World:
    """Return what stood before the first trial, with which setting suits which speakers as the trials show it."""
    speech = [Speech(dev.words, dev.speakers, RESAMPLES) for dev in half.devs.values()]
    rates = [
        one.rates(np.concatenate([baseline[name], *(trial[name] for trial in trials)]))
        for name, one in zip(half.devs, speech, strict=True)
    ]
    count = len(next(iter(baseline.values())))
    speakers = [one.talkative_speakers for one in speech]
    of_baseline, of_trials = [one[:count] for one in rates], [one[count:] for one in rates]
    noise = before.noise.with_suits(of_baseline, of_trials, half.words, speakers)
    return replace(before, noise=noise)


def verdict(half: Half, errors: Sequence[Errors], known: Sequence[Known], phase: Confirm) -> tuple[int, int, int]:
    """Return the number of the winner (from 1 on; 0: none), the same by held-out speech alone, and trainings spent.

    Args:
        half: of dev, held out of the search.
        errors: of the baseline and each candidate.
        known: of each candidate.
        phase: that they are of.
    """
    looks = Looks(phase.seeds, 0.95)
    rates = {
        name: [Speech(dev.words, dev.speakers, RESAMPLES, 1).rates(one[name]) for one in errors]
        for name, dev in half.devs.items()
    }
    first = evidence_of(half, rates, known, [phase.of_baseline(looks.first), *[looks.first] * len(known)])
    more = looks.wants_more(first)
    counts = [looks.trainings if one else looks.first for one in more]
    counts = [phase.of_baseline(max(counts)), *counts]
    last = evidence_of(half, rates, known, counts)
    held_out, with_model = looks.confirmed(first, last)
    return with_model, held_out, sum(counts)


def evidence_of(
    half: Half, rates: Mapping[str, Sequence[Rates]], known: Sequence[Known], counts: Sequence[int]
) -> list[Evidence]:
    """Return the evidence on each candidate, by so many trainings of each arm."""
    world = half.world
    arms = {name: Arms([[one[:n] for one, n in zip(of, counts, strict=True)]]) for name, of in rates.items()}
    found = []
    for number, of in enumerate(known, 1):
        claims = [
            at_the_limit(arms[name], rule.excess, number, 0)
            for name, rule in zip(world.floors, world.rules, strict=True)
        ]
        claims.append(at_the_limit(arms["low"], sub, number, 0))
        found.append(evidence(Estimate.stacked(claims), of.difference, of.fit))
    return found
