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


def test_the_papers_gate_has_no_ratio_cap(example: Path) -> None:
    cap = "weighting.ratio_cap"
    free = changed(example, FAMILY, f"{cap}={{choice: [2, null]}}")
    assert [free.at(point).schedules()["gl"] for point in free.published_points()] == PUBLISHED
    never = changed(example, FAMILY, f"{cap}={{uniform: [1, 4]}}")
    assert len(never.published_points()) == 2
    assert never.notes == [f"published dynamic alpha 1.5 is not among the first points: {cap} has no null"]
    fixed = changed(example, FAMILY, f"{cap}=3")
    assert f"{cap} is fixed at 3" in fixed.notes[0]


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


def test_searched_augmentation_starts_at_the_papers(example: Path) -> None:
    searched = {
        "augmentation.strength": ("{uniform: [0, 1.5]}", 1.0),
        "augmentation.copies": ("{choice: [0, 1, all]}", 1),
        "augmentation.time_stretch.rate": ("{uniform: [0, 0.2]}", 0.1),
        "augmentation.pitch_shift.probability": ("{uniform: [0, 1]}", 0.2),
        "augmentation.pitch_shift.semitones": ("{int: [1, 6]}", 4),
        "augmentation.gain.decibels": ("{uniform: [0, 12]}", 6.0),
        "augmentation.white_noise.amplitude": ("{loguniform: [0.001, 0.02]}", 0.01),
        "augmentation.spec_augment.probability": ("{uniform: [0, 1]}", 0.0),
        "augmentation.spec_augment.frequency_width": ("{uniform: [0, 0.5]}", 0.2),
    }
    file = changed(example, FAMILY, *(f"{path}={written}" for path, (written, _) in searched.items()))
    points = file.published_points()
    assert [file.at(point).schedules()["gl"] for point in points] == PUBLISHED
    for point in points:
        assert {path: point[path] for path in searched} == {path: value for path, (_, value) in searched.items()}
    assert not file.notes


@pytest.mark.parametrize(
    ("path", "written", "value", "why"),
    [
        ("strength", "{uniform: [0, 0.5]}", 0.5, "the nearest to the paper's 1.0"),
        ("copies", "{int: [2, 4]}", 2, "the nearest to the paper's 1"),
        ("copies", "{choice: [all, 0]}", 0, "the nearest to the paper's 1"),
        ("white_noise.snr", "{uniform: [5, 20]}", 5.0, "as the paper has none"),
    ],
)
def test_what_cannot_be_the_papers_is_the_nearest_with_a_note(
    example: Path, path: str, written: str, value: object, why: str
) -> None:
    file = changed(example, FAMILY, "augmentation.white_noise.amplitude=null", f"augmentation.{path}={written}")
    assert [point[f"augmentation.{path}"] for point in file.published_points()] == [value] * 3
    assert file.notes == [f"the first points have augmentation.{path} = {value}, {why}"]


@pytest.mark.parametrize("augmentation", ["{preset: paper, strength: 0.5}", "{gain: {probability: 1}, copies: all}"])
def test_a_fixed_augmentation_excludes_no_setting(example: Path, augmentation: str) -> None:
    file = changed(example, FAMILY, f"augmentation={augmentation}")
    assert len(file.published_points()) == 3
    assert not file.notes


def test_listed_points(example: Path) -> None:
    alpha = "weighting.alpha={uniform: [1, 6]}"
    assert changed(example, alpha, "search.points=[{weighting.alpha: 3}]").published_points() == [
        {"weighting.alpha": 3.0}
    ]
