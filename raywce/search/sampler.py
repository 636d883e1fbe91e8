"""Optuna sampler that knows its noise: expected improvement times the probability of being confirmed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from raywce.selection.acquisition import next_setting
from raywce.selection.search_model import Plan, SearchModel, World
from raywce.surrogate.cube import Axis, Cube

Array = NDArray[np.float64]

LOOKS_FAR = 0.75
"""Share of a search's trials that look for settings which truly keep the limits."""

RATES = "rates"
"""Name of the user attribute that holds a trial's rates, fractions by language."""


@dataclass(frozen=True)
class Task:
    """What `NoiseAwareSampler` searches for.

    Attributes:
        languages: those of `world`, in its order.
        world: what stands before the first trial.
        plan: what a candidate will be confirmed with; None: nothing will be confirmed.
        trials: of the whole search.
    """

    languages: Sequence[str]
    world: World
    plan: Plan | None
    trials: int


class NoiseAwareSampler(BaseSampler):  # type: ignore[misc]
    """Sampler by a Gaussian process of each language's rate (`raywce.selection.search_model`).

    It works by itself too: a trial gives its rates by `trial.set_user_attr(RATES, {language: fraction})`, and then its
    objective, which only shows. Failed and pruned trials are passed over; running ones are taken to end as is expected.
    The first three quarters of a search look for settings that truly keep the limits, the last quarter for those that
    held-out speech will confirm, where it will be asked. The same trials, seed and index give the same suggestion.
    """

    def __init__(
        self, space: Mapping[str, BaseDistribution], task: Task, seed: int, index: int | None = None, startup: int = 6
    ) -> None:
        """Take a task.

        Args:
            space: key path to distribution.
            task: what is searched for.
            seed: of all draws.
            index: of the suggestion; None: the trial's number.
            startup: suggestions before the model's, which fill the space evenly.
        """
        self._space, self._task, self._seed, self._index, self._startup = dict(space), task, seed, index, startup
        self._cube, self._others = cube_of(space), RandomSampler(seed)
        self._asked: Counter[int] = Counter()  # by index: once more where a suggestion is not taken

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space."""
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the values that are worth most to try next."""
        index = trial.number if self._index is None else self._index
        attempt = self._asked[index]
        self._asked[index] += 1
        random = np.random.default_rng([self._seed, index, attempt])
        if index < self._startup:
            even = self._cube.even(self._startup, np.random.default_rng(self._seed))[index]
            return self._cube.values(self._cube.drawn(1, random)[0] if attempt else even)
        others = [one for one in study.get_trials(deepcopy=False) if one.number != trial.number]
        done = [one for one in others if one.state is TrialState.COMPLETE and RATES in one.user_attrs]
        pending = [one for one in others if one.state is TrialState.RUNNING and one.params.keys() >= self._space.keys()]
        tried, running = self._rows(done), self._rows(pending)
        rates = np.array([[one.user_attrs[RATES][of] for of in self._task.languages] for one in done])
        model = SearchModel.fit(self._task.world, tried, rates.reshape(len(done), -1), running)
        plan = self._task.plan if index >= LOOKS_FAR * self._task.trials else None
        return self._cube.values(next_setting(model, self._cube, np.vstack([tried, running]), random, plan))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw a value that is not of the space."""
        return self._others.sample_independent(study, trial, param_name, param_distribution)

    def _rows(self, trials: Sequence[FrozenTrial]) -> Array:
        rows = [self._cube.row(one.params) for one in trials]
        return np.array(rows).reshape(len(rows), len(self._space))


def cube_of(space: Mapping[str, BaseDistribution]) -> Cube:
    """Return a study's space as a cube."""
    return Cube({path: _axis(distribution) for path, distribution in space.items()})


def _axis(distribution: BaseDistribution) -> Axis:
    if isinstance(distribution, CategoricalDistribution):
        return Axis(choices=tuple(distribution.choices))
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        return Axis(distribution.low, distribution.high, distribution.log, distribution.step)
    raise TypeError(f"a distribution of Optuna is wanted, not {distribution!r}")
