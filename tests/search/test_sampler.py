from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from raywce.search.sampler import RATES, NoiseAwareSampler, Task, cube_of
from raywce.selection.limits import Rule
from raywce.selection.search_model import Noise, Plan, World

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE: dict[str, BaseDistribution] = {
    "alpha": FloatDistribution(1, 8),
    "rate": FloatDistribution(1e-6, 1e-4, log=True),
    "layers": IntDistribution(0, 3),
    "noise": CategoricalDistribution([False, True]),
}
PLAIN = {"alpha": 1.0, "rate": 1e-5, "layers": 0, "noise": False}
LANGUAGES = ["gl", "es"]
TRIALS = 24


def rates(values: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The low-resource rate falls with alpha and noise; the other rises, to its limit of 21 % at alpha 4 with noise."""
    push = (values["alpha"] - 1) * (1 + 0.3 * values["layers"])
    low = 0.5 - 0.08 * (1 - np.exp(-0.5 * (values["alpha"] - 1))) - 0.02 * values["noise"]
    return np.array([low + 0.02 * np.log10(values["rate"] / 2e-5) ** 2, 0.20 + 0.005 * push - 0.005 * values["noise"]])


def task(seed: int = 0, noise: float = 0.02) -> Task:
    random = np.random.default_rng([seed, 1])
    baseline = rates(PLAIN) * np.exp(noise * random.standard_normal((6, 2)))
    cube = cube_of(SPACE)
    known = World(
        low_resource=1,
        rules=[Rule("baseline", 0.0, 0.01)],
        fixed=np.array([np.nan]),
        words=np.full(2, 20_000.0),
        baseline=baseline,
        at=cube.row(PLAIN),
        choices=cube.choices,
        noise=Noise.of(baseline, np.full(2, 20_000.0), [100.0, 100.0]),
    )
    return Task(LANGUAGES, known, Plan(6, 6), TRIALS)


def sampler(seed: int = 0) -> NoiseAwareSampler:
    return NoiseAwareSampler(SPACE, task(seed), seed)


def searched(of: BaseSampler, trials: int, seed: int = 0, noise: float = 0.02) -> optuna.Study:
    """As under Optuna by itself."""
    study = optuna.create_study(sampler=of)
    random = np.random.default_rng([seed, 2])
    for _ in range(trials):
        trial = study.ask(fixed_distributions=SPACE)
        end(study, trial, rates(trial.params) * np.exp(noise * random.standard_normal(2)))
    return study


def end(study: optuna.Study, trial: optuna.Trial, measured: Any) -> None:
    trial.set_user_attr(RATES, dict(zip(LANGUAGES, map(float, measured), strict=True)))
    study.tell(trial, float(measured[0]))


def test_it_learns_where_the_rate_is_low_and_ends_where_the_limits_surely_hold() -> None:
    ours, others = (searched(one, TRIALS, seed=3) for one in (sampler(3), RandomSampler(3)))

    def truth(study: optuna.Study, *which: int) -> Any:
        return np.array([rates(trial.params) for trial in study.trials[slice(*which)]]).T

    (low, high), last = truth(ours, 12, 18), truth(ours, 18, TRIALS)
    assert (last[1] < 0.21).all(), "the limit"
    assert (last[0] < 0.44).all(), "the baseline's is 50 %"
    assert low.mean() < last[0].mean(), "they looked further"
    assert (np.abs(high - 0.21) < 0.015).all(), "about the limit"
    random = truth(others, 12, TRIALS)
    assert np.mean((random[0] < 0.44) & (random[1] < 0.21)) < 0.2


def test_where_nothing_will_be_confirmed_it_looks_far_to_the_end() -> None:
    confirmed, not_confirmed = (
        searched(NoiseAwareSampler(SPACE, replace(task(3), plan=plan), 3), TRIALS, seed=3)
        for plan in (Plan(6, 6), None)
    )
    params = [[trial.params for trial in study.trials] for study in (confirmed, not_confirmed)]
    assert params[0][:18] == params[1][:18]
    low = [np.mean([rates(one)[0] for one in of[18:]]) for of in params]
    assert low[1] < low[0]


def test_values_have_the_types_of_their_distributions() -> None:
    for trial in searched(sampler(), 9).trials:
        assert isinstance(trial.params["layers"], int)
        assert isinstance(trial.params["noise"], bool)
        assert all(
            distribution._contains(distribution.to_internal_repr(trial.params[name]))
            for name, distribution in SPACE.items()
        )


def test_the_first_ones_fill_the_space() -> None:
    params = [trial.params for trial in searched(sampler(), 6).trials]
    assert sorted(int(6 * (one["alpha"] - 1) / 7) for one in params) == [0, 1, 2, 3, 4, 5]
    assert sum(one["noise"] for one in params) == 3


def test_the_same_trials_seed_and_index_give_the_same_suggestion() -> None:
    one, other = searched(sampler(), 10), searched(sampler(), 10)
    assert [trial.params for trial in one.trials] == [trial.params for trial in other.trials]
    again = optuna.create_study(sampler=NoiseAwareSampler(SPACE, task(), 0, index=9))
    again.add_trials(reversed(one.trials[:9]))  # whatever the order in which they ended
    again.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))
    assert again.ask(fixed_distributions=SPACE).params == pytest.approx(one.trials[9].params)


def test_trials_in_flight_are_apart() -> None:
    study = searched(sampler(), 10)
    params = [study.ask(fixed_distributions=SPACE).params for _ in range(4)]
    rows = np.array([cube_of(SPACE).row(one) for one in params])
    apart = np.abs(rows[:, None] - rows).max(axis=-1)[np.triu_indices(4, 1)]
    assert apart.min() > 0.001
    assert apart.max() > 0.1


def test_failed_and_pruned_trials_and_those_without_rates_are_passed_over() -> None:
    study = searched(sampler(), 8)
    before = optuna.create_study(sampler=NoiseAwareSampler(SPACE, task(), 0, index=30))
    before.add_trials(study.trials)
    wanted = before.ask(fixed_distributions=SPACE).params
    more = optuna.create_study(sampler=NoiseAwareSampler(SPACE, task(), 0, index=30))
    more.add_trials(study.trials)
    for state in (TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE):
        trial = more.ask(fixed_distributions=SPACE)
        if state is TrialState.COMPLETE:
            more.tell(trial, 0.1)
        else:
            more.tell(trial, state=state)
    more.sampler = NoiseAwareSampler(SPACE, task(), 0, index=30)
    assert more.ask(fixed_distributions=SPACE).params == wanted


def test_a_suggestion_that_is_not_taken_is_followed_by_another() -> None:
    study = optuna.create_study(sampler=NoiseAwareSampler(SPACE, task(), 0, index=2))
    params = [study.ask(fixed_distributions=SPACE).params for _ in range(3)]
    assert params[0] != params[1] != params[2]


def test_a_leaf_that_is_not_of_the_space_is_drawn() -> None:
    study = searched(sampler(), 7)
    drawn = [study.ask().suggest_float("other", 0, 1) for _ in range(2)]
    assert 0 <= drawn[0] != drawn[1] <= 1


def test_other_distributions_are_refused() -> None:
    with pytest.raises(TypeError, match="a distribution of Optuna is wanted"):
        cube_of({"a": (0, 1)})  # type: ignore[dict-item]
