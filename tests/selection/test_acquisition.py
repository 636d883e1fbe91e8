from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from raywce.selection.acquisition import largest, lowest_with, next_setting
from raywce.selection.search_model import Plan, SearchModel
from raywce.surrogate.cube import Axis, Cube
from tests.selection.test_search_model import model, world

Array = NDArray[np.float64]
CUBE = Cube({"x": Axis(0.0, 1.0), "y": Axis(0.0, 1.0)})
MIXED = Cube({"x": Axis(0.0, 1.0), "layers": Axis(0, 9, step=1), "kind": Axis(choices=("a", "b", "c"))})
PLAN = Plan(seeds=6, baseline_seeds=6)


def found() -> tuple[SearchModel, Array]:
    return model(world(low=1))


def draws(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_largest_value_of_a_known_function_is_found() -> None:
    def worth(z: Array) -> Array:
        out: Array = -((z[:, 0] - 0.314) ** 2) - 0.1 * (z[:, 1] - 0.5) ** 2
        return out

    assert largest(worth, CUBE, np.empty((0, 2)), draws()) == pytest.approx([0.314, 0.5], abs=0.02)


def test_whole_numbers_and_choices_are_found_too() -> None:
    wanted = MIXED.row({"x": 0.7, "layers": 3, "kind": "c"})

    def worth(z: Array) -> Array:
        out: Array = -(np.abs(z - wanted) * [1, 1, 0.2]).sum(axis=1)
        return out

    assert MIXED.values(largest(worth, MIXED, np.empty((0, 3)), draws())) == {
        "x": pytest.approx(0.7, abs=0.02),
        "layers": 3,
        "kind": "c",
    }


def test_a_known_setting_that_is_worth_most_is_kept() -> None:
    known = np.array([[0.123456, 0.654321]])

    def worth(z: Array) -> Array:
        out: Array = (z == known).all(axis=1).astype(float)
        return out

    assert (largest(worth, CUBE, known, draws()) == known[0]).all()


def test_a_candidate_is_as_probable_as_is_asked_for_and_lowest_among_those() -> None:
    of, known = found()
    lows = []
    for chance in (0.8, 0.5, 0.2):
        z = lowest_with(of, CUBE, known, PLAN, chance, True, draws())[None]
        assert of.chance(z, PLAN, True)[0] >= chance
        lows.append(of.objective(z).mean[0])
        drawn = draws(1).random((3000, 2))
        reached = of.chance(drawn, PLAN, True) >= chance
        assert lows[-1] <= of.objective(drawn).mean[reached].min() + 1e-3
    assert lows[0] > lows[1] > lows[2]


def test_where_no_setting_is_probable_enough_it_is_the_most_probable_one() -> None:
    of, known = found()
    few = Plan(seeds=1, baseline_seeds=1, confidence=0.999)
    z = lowest_with(of, CUBE, known, few, 0.99, False, draws())[None]
    assert of.chance(z, few, False)[0] >= of.chance(draws(1).random((3000, 2)), few, False).max() - 1e-3


def test_the_next_setting_is_where_an_improvement_may_be_confirmed() -> None:
    of, known = found()
    z = next_setting(of, CUBE, known, draws(), PLAN)[None]
    assert of.chance(z, PLAN, False)[0] > 0.2
    assert of.objective(z).mean[0] < of.world.baseline[:, 0].mean()


def test_without_a_plan_it_is_where_the_truth_may_be_an_improvement() -> None:
    of, known = found()
    bold, safe = next_setting(of, CUBE, known, draws())[None], next_setting(of, CUBE, known, draws(), PLAN)[None]
    assert of.keeps(bold)[0] > 0.2
    assert of.objective(bold).mean[0] < of.objective(safe).mean[0], "nothing has to be confirmed of it"
    assert of.chance(bold, PLAN, False)[0] < of.chance(safe, PLAN, False)[0]


def test_without_any_trial_it_is_the_most_probable_one() -> None:
    of, _ = model(world(low=1), count=0)
    z = next_setting(of, CUBE, np.empty((0, 2)), draws(), PLAN)
    assert z.shape == (2,)
    assert of.chance(z[None], PLAN, False)[0] >= of.chance(draws(1).random((1000, 2)), PLAN, False).max() - 1e-3
