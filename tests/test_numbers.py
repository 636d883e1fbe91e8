from __future__ import annotations

import math

import pytest

from raywce import numbers
from raywce.selection.comparison import Interval


def test_fractions_are_shown_in_percent_and_their_differences_in_points() -> None:
    assert numbers.percent(0.12345) == "12.35"
    assert numbers.percent(0.12345, digits=1) == "12.3"
    assert numbers.change(-0.0123) == "-1.23"
    assert numbers.points(0.5) == "+0.50"
    assert numbers.distance(-0.5) == "0.50"


def test_intervals_and_deviations_stand_beside_their_figure() -> None:
    assert numbers.percent_interval(Interval(0.12, 0.11, 1.3)) == "12.00 [11.00, 130.00]"
    assert numbers.change_interval(Interval(-0.1234, -0.1567, 0.0)) == "-12.34 [-15.67, +0.00]"
    assert numbers.change_bounds(-0.1567, 0.001) == "[-15.67, +0.10]"
    assert numbers.with_deviation(0.51, 0.0141) == "51.00 ± 1.41"


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_what_is_not_known_is_an_empty_text(unknown: float | None) -> None:
    for form in (numbers.percent, numbers.change, numbers.points, numbers.distance):
        assert form(unknown) == ""
    assert numbers.change_bounds(unknown, 0.1) == ""
    assert numbers.with_deviation(0.5, unknown) == "50.00"
    assert numbers.with_deviation(unknown, unknown) == ""
    assert numbers.hyperparameter(None) == ""


def test_an_interval_that_is_not_known_is_left_out() -> None:
    assert numbers.percent_interval(Interval(math.nan, math.nan, math.nan)) == ""
    assert numbers.change_interval(Interval(0.1, math.nan, math.nan)) == "+10.00"


def test_a_level_of_confidence_has_the_digits_that_it_needs() -> None:
    assert [numbers.confidence(level) for level in (0.95, 0.999, 0.9)] == ["95", "99.9", "90"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3540, "59 min"), (3600, "1 h 0 min"), (12000, "3 h 20 min")],
)
def test_a_duration_in_words(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


def test_a_minus_sign_is_no_hyphen_of_a_name() -> None:
    assert numbers.with_minus("search-000-1: -1.23 [-2.00, +0.10]") == "search-000-1: −1.23 [−2.00, +0.10]"


def test_hyperparameters_and_hours() -> None:
    values = (1e-5, 0.123456, 16, True, "all")
    assert [numbers.hyperparameter(value) for value in values] == ["1e-05", "0.1235", "16", "True", "all"]
    assert numbers.hours(0.2549) == "0.25"
