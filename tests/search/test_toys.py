"""The toys are as hard as they are said to be: what is measured on them means nothing else."""

from __future__ import annotations

import optuna
import pytest
from optuna.samplers import RandomSampler

from tests.search.curves import STEPS, intermediate
from tests.search.toys import BRANIN, TOYS, WER, WER_MID, Figures, Toy, branin

GOOD = {"alpha": 1.9, "learning_rate": 5e-5, "strength": 0.35, "ramp_start": 0.4, "adaptive": True}


def draws(toy: Toy, count: int = 2000) -> list[Figures]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    return [toy.evaluate(study.ask(fixed_distributions=toy.space).params) for _ in range(count)]


@pytest.mark.parametrize(("toy", "share"), [(BRANIN, 0.70), (WER, 0.30), (WER_MID, 0.05)])
def test_how_much_of_the_space_is_feasible(toy: Toy, share: float) -> None:
    found = draws(toy)
    assert sum(one.feasible for one in found) / len(found) == pytest.approx(share, abs=0.02)
    assert min(one.objective for one in found) >= 0


def test_branin_has_its_known_minima() -> None:
    for x, y in [(-3.1416, 12.275), (3.1416, 2.275), (9.42478, 2.475)]:
        assert branin({"x": x, "y": y}).objective == pytest.approx(0.397887, abs=1e-4)
    assert branin({"x": 3.1416, "y": 2.275}).feasible
    assert not branin({"x": -3.1416, "y": 12.275}).feasible


def test_alpha_buys_objective_with_violation() -> None:
    more = {**GOOD, "alpha": 3.0}
    assert WER.evaluate(more).objective < WER.evaluate(GOOD).objective
    assert WER.evaluate(more).violation > WER.evaluate(GOOD).violation


@pytest.mark.parametrize("toy", TOYS[1:], ids=lambda toy: toy.name)
def test_a_curve_begins_near_the_others_and_ends_at_its_toy(toy: Toy) -> None:
    final = toy.evaluate(GOOD)
    curve = [intermediate(toy, GOOD, step, 0) for step in range(1, STEPS + 1)]
    assert curve[-1] == final
    assert curve == [intermediate(toy, GOOD, step, 0) for step in range(1, STEPS + 1)]
    assert curve[0] != intermediate(toy, GOOD, 1, 1)
    far = [abs(one.objective - final.objective) for one in curve]
    assert far[0] > far[3] > far[6] > far[-1]
