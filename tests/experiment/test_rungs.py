from __future__ import annotations

from typing import Any

import pytest

from raywce.experiment.rungs import first_rung, rungs, same_until
from raywce.experiment.schema import (
    ConstantWeighting,
    FamilyWeighting,
    LinearProgressiveWeighting,
    NoWeighting,
    Optimizer,
    Training,
)
from raywce.experiment.space import Distribution
from raywce.weighting import AlphaSchedule

RAMP, WARMUP = "weighting.ramp_start", "training.optimizer.warmup_steps"


def training(every: int | None = 10, steps: int = 100, warmup: int = 0) -> Training:
    return Training(steps=steps, evaluate_every=every, optimizer=Optimizer(warmup_steps=warmup))


def family(ramp_start: float = 0.0) -> FamilyWeighting:
    return FamilyWeighting(kind="family", alpha_initial=2, alpha_final=5, ramp_start=ramp_start)


def progressive(ramp_start: float) -> LinearProgressiveWeighting:
    return LinearProgressiveWeighting(kind="linear_progressive", alpha_initial=2, alpha_final=5, ramp_start=ramp_start)


def ramp_of(kind: Any, *values: Any) -> dict[str, Distribution]:
    return {RAMP: Distribution(kind, values)}


@pytest.mark.parametrize(
    ("given", "weighting", "space", "first"),
    [
        (training(), NoWeighting(), {}, 10),
        (training(), ConstantWeighting(kind="constant", alpha=2), {}, 10),
        (training(), family(0.25), {}, 30),
        (training(), progressive(0.5), {}, 60),  # at step 50 no trial has made a weighted step
        (training(), family(), ramp_of("uniform", 0.0, 0.75), 80),
        (training(), family(), ramp_of("choice", 0.0, 0.4, 0.2), 50),
        (training(), family(0.95), {}, 100),
        (training(), family(1.0), {}, 100),
        (training(warmup=8), NoWeighting(), {}, 10),
        (training(warmup=10), NoWeighting(), {}, 20),
        (training(warmup=35), family(0.25), {}, 40),
        (training(), family(0.25), {WARMUP: Distribution("int", (0, 55))}, 60),
        (training(every=None), NoWeighting(), {}, 100),
        (training(every=30), family(0.95), {}, 100),  # 96 steps are no multiple of 30; the end is evaluated
    ],
)
def test_the_first_rung_lies_after_all_that_trials_have_in_common(given, weighting, space, first) -> None:
    assert first_rung(given, weighting, space) == first


@pytest.mark.parametrize("ramp_start", [0.0, 0.1, 0.29, 0.3, 0.57, 0.58, 0.7, 0.99])
def test_trials_can_differ_at_the_first_rung_and_not_one_step_before(ramp_start: float) -> None:
    first = first_rung(training(every=1), family(ramp_start), {})
    schedule = AlphaSchedule(2, 5, ramp_start, 1.0)
    weights = [schedule.alpha(step, 100) for step in range(100)]
    assert all(weight == 1 for weight in weights[: first - 1])
    assert weights[first - 1] == 2


def test_rungs_lie_a_factor_apart_at_evaluations_before_the_end() -> None:
    assert rungs(training(), NoWeighting(), {}, 3) == (10, 30, 90)
    assert rungs(training(every=1, steps=81), NoWeighting(), {}, 3) == (1, 3, 9, 27)
    assert rungs(training(), NoWeighting(), {}, 2.5) == (10, 30, 70)
    assert rungs(training(), NoWeighting(), {}, 1.2) == (10, 20, 30, 40, 50, 60, 70, 80, 90)
    assert rungs(training(), family(0.5), {}, 3) == (60,)


def test_there_is_no_rung_without_an_evaluation_that_can_tell_trials_apart() -> None:
    assert rungs(training(every=None), NoWeighting(), {}, 3) == ()
    assert rungs(training(every=100), NoWeighting(), {}, 3) == ()
    assert rungs(training(), family(0.95), {}, 3) == ()


def test_steps_in_common_are_those_of_the_later_of_ramp_and_warm_up() -> None:
    assert same_until(training(warmup=30), family(0.25), {}) == 30
    assert same_until(training(warmup=20), family(0.25), {}) == 25
