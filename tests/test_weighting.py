import math

import pytest

from raywce.weighting import AlphaSchedule, LossSums, alphas_in_force, gated_alpha

LINEAR_PROGRESSIVE = AlphaSchedule(2.0, 5.0, ramp_start=0.5, ramp_fraction=1.0)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 1.0), (3999, 1.0), (4000, 2.0), (6000, 3.5), (8000, 5.0), (9000, 5.0)],
)
def test_linear_progressive_of_the_paper(step: int, expected: float) -> None:
    assert LINEAR_PROGRESSIVE.alpha(step, 8000) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("step", range(0, 21))
def test_linear_progressive_equals_the_papers_formula_where_the_ramp_runs(step: int) -> None:
    first, total = 7, 20
    schedule = AlphaSchedule(1.5, 4.0, ramp_start=first / total, ramp_fraction=1.0)
    formula = 1.5 + (4.0 - 1.5) * (step - first) / (total - first) if step >= first else 1.0
    assert schedule.alpha(step, total) == pytest.approx(formula)


def test_constant_is_constant() -> None:
    assert {AlphaSchedule(2.0, 2.0).alpha(step, 10) for step in range(12)} == {2.0}


def test_a_ramp_of_no_length_is_a_step_to_alpha_final() -> None:
    schedule = AlphaSchedule(2.0, 5.0, ramp_start=0.5, ramp_fraction=0.0)
    assert [schedule.alpha(step, 4) for step in range(5)] == [1.0, 1.0, 5.0, 5.0, 5.0]


def test_a_ramp_may_end_before_the_training_does() -> None:
    schedule = AlphaSchedule(1.0, 3.0, ramp_start=0.2, ramp_fraction=0.5)  # from 2 to 6 of 10
    assert [schedule.alpha(step, 10) for step in (1, 2, 4, 6, 10)] == pytest.approx([1.0, 1.0, 2.0, 3.0, 3.0])


@pytest.mark.parametrize(
    ("alpha", "ratio", "expected"),
    [
        (1.5, 0.5, 1.0),  # alpha * r < 1: low-resource is learnt well enough
        (1.5, 1.0 / 1.5, 1.5),  # the boundary itself opens the gate
        (1.5, 1.0, 1.5),
        (1.5, 2.0, 2.0),  # the ratio is larger than alpha
        (1.5, None, 1.0),
    ],
)
def test_gate(alpha: float, ratio: float | None, expected: float) -> None:
    assert gated_alpha(alpha, ratio) == expected


@pytest.mark.parametrize(
    ("sums", "ratio"),
    [
        (LossSums(6.0, 2, 4.0, 4), 3.0),
        (LossSums(0.0, 0, 4.0, 4), None),  # no low-resource side
        (LossSums(6.0, 2, 0.0, 0), None),  # no high-resource side
        (LossSums(6.0, 2, 0.0, 4), None),  # nothing to compare with
    ],
)
def test_ratio_is_that_of_the_mean_token_losses(sums: LossSums, ratio: float | None) -> None:
    assert sums.ratio == ratio


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.5, 1.0),  # the gate is closed, as without a cap
        (2.0, 2.0),  # below the cap it is the paper's gate
        (9.0, 4.0),
        (None, 1.0),
    ],
)
def test_a_cap_bounds_the_ratio(ratio: float | None, expected: float) -> None:
    assert AlphaSchedule(1.5, 1.5, adaptive=True, ratio_cap=4.0).in_force(0, 10, ratio) == expected


def test_above_the_cap_alpha_makes_a_difference_again() -> None:
    weights = [AlphaSchedule(a, a, adaptive=True, ratio_cap=2.0).in_force(0, 10, 9.0) for a in (1.0, 3.0, 5.0)]
    assert weights == [2.0, 3.0, 5.0]
    assert AlphaSchedule(3.0, 3.0, ratio_cap=2.0).in_force(0, 10, 9.0) == 3.0, "a weight without a gate has no ratio"


def test_a_batch_without_a_side_has_weight_1() -> None:
    schedules = {"gl": AlphaSchedule(4.0, 4.0, adaptive=True)}
    assert alphas_in_force(schedules, 0, 10, LossSums(6.0, 2, 0.0, 0)) == {"gl": 1.0}
    assert alphas_in_force(schedules, 0, 10, LossSums(0.0, 0, 4.0, 4)) == {"gl": 1.0}


def test_a_loss_that_is_not_finite_is_not_hidden() -> None:
    assert math.isinf(gated_alpha(2.0, math.inf))


def test_each_language_has_its_own_schedule_and_the_gate_begins_with_the_ramp() -> None:
    schedules = {
        "gl": AlphaSchedule(2.0, 2.0),
        "ast": AlphaSchedule(3.0, 3.0, ramp_start=0.5, adaptive=True),
    }
    sums = LossSums(8.0, 1, 1.0, 1)
    assert alphas_in_force(schedules, 4, 10, sums) == {"gl": 2.0, "ast": 1.0}
    assert alphas_in_force(schedules, 5, 10, sums) == {"gl": 2.0, "ast": 8.0}


def test_an_adaptive_schedule_without_losses_is_refused() -> None:
    with pytest.raises(ValueError, match="loss sums"):
        alphas_in_force({"gl": AlphaSchedule(2.0, 2.0, adaptive=True)}, 0, 10, None)
