from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raywce.weighting import AlphaSchedule
from tests.experiment.example import FAMILY, SEARCHED_RATE, changed, problems

LEAVES = ("alpha_initial", "alpha_final", "ramp_start", "ramp_fraction", "adaptive")
PUBLISHED = [
    AlphaSchedule(2.0, 2.0),
    AlphaSchedule(2.0, 5.0, 0.5, 1.0),
    AlphaSchedule(1.5, 1.5, adaptive=True),
]
RAMP = "weighting={{kind: {}, alpha_initial: {{uniform: [1, 4]}}, alpha_final: {{uniform: [1, 6]}}, ramp_start: 0.5}}"


def test_the_family_expresses_all_published_settings(example: Path) -> None:
    file = changed(example, FAMILY)
    assert [file.at(point).schedules()["gl"] for point in file.published_points()] == PUBLISHED
    assert all(set(point) == set(file.space) for point in file.published_points())
    assert not file.notes


@pytest.mark.parametrize(
    ("weighting", "points"),
    [
        ("weighting={kind: constant, alpha: {uniform: [1, 4]}}", [{"weighting.alpha": 2.0}]),
        ("weighting={kind: constant, alpha: {int: [1, 4]}}", [{"weighting.alpha": 2}]),
        ("weighting={kind: dynamic, alpha: {uniform: [1, 4]}}", [{"weighting.alpha": 1.5}]),
        (
            RAMP.format("linear_progressive"),
            [{"weighting.alpha_initial": 2.0, "weighting.alpha_final": 5.0}],
        ),
        (RAMP.format("progressive_dynamic"), []),
        (
            "weighting={kind: constant, alpha: 2, languages: {gl: {alpha: {uniform: [1, 4]}}}}",
            [{"weighting.languages.gl.alpha": 2.0}],
        ),
    ],
)
def test_a_named_kind_takes_its_own(example: Path, weighting: str, points: list[dict[str, Any]]) -> None:
    file = changed(example, weighting)
    assert file.published_points() == points
    assert bool(file.notes) == (not points)


def test_a_setting_that_a_fixed_leaf_excludes_is_left_out_with_a_note(example: Path) -> None:
    file = changed(example, FAMILY, "weighting.ramp_start=0")
    assert [file.at(point).schedules()["gl"] for point in file.published_points()] == [PUBLISHED[0], PUBLISHED[2]]
    assert len(file.notes) == 1
    assert "weighting.ramp_start is fixed at 0" in file.notes[0]


def test_a_ramp_fraction_that_makes_no_difference_excludes_nothing(example: Path) -> None:
    file = changed(example, FAMILY, "weighting.ramp_fraction={uniform: [0.5, 1]}")
    assert [point["weighting.alpha_final"] for point in file.published_points()] == [2.0, 5.0, 1.5]


def test_a_setting_outside_the_bounds_is_an_error(example: Path) -> None:
    found = problems(example, [FAMILY, "weighting.alpha_final={uniform: [1, 4]}"])
    assert [problem.path for problem in found] == ["weighting.alpha_final"]
    assert "must hold 5.0 (published linear progressive" in str(found[0])
    assert "Widen it, or set search.points: none" in str(found[0])
    assert not changed(
        example, FAMILY, "weighting.alpha_final={uniform: [1, 4]}", "search.points=none"
    ).published_points()


def test_searched_optimizer_leaves_start_at_the_baseline(example: Path) -> None:
    baseline = "search.baseline.training.optimizer.learning_rate=1e-5"
    points = changed(example, FAMILY, SEARCHED_RATE, baseline).published_points()
    assert [point["training.optimizer.learning_rate"] for point in points] == [1e-5] * 3
    found = problems(example, [FAMILY, SEARCHED_RATE, baseline.replace("1e-5", "1e-3")])
    assert [problem.path for problem in found] == ["training.optimizer.learning_rate"]
    assert "search.baseline" in str(found[0])


def test_listed_points(example: Path) -> None:
    alpha = "weighting.alpha={uniform: [1, 6]}"
    assert changed(example, alpha, "search.points=[{weighting.alpha: 3}]").published_points() == [
        {"weighting.alpha": 3.0}
    ]
