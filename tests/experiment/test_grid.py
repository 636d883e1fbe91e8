from __future__ import annotations

from pathlib import Path

import pytest

from raywce.errors import InputError
from raywce.experiment.grid import settings
from raywce.experiment.space import Distribution
from tests.experiment.example import changed, problems

GRID = ("search.sampler=grid", "search.trials=null", "search.points=none")


def test_the_last_key_changes_fastest_and_both_ends_of_int_are_held() -> None:
    space = {"a": Distribution("choice", ("x", None)), "b": Distribution("int", (0, 2))}
    assert [tuple(values.values()) for values in settings(space)] == [
        ("x", 0),
        ("x", 1),
        ("x", 2),
        (None, 0),
        (None, 1),
        (None, 2),
    ]


def test_the_baseline_is_not_run_again(example: Path) -> None:
    file = changed(
        example,
        *GRID,
        "weighting.alpha={choice: [1, 2]}",
        "augmentation={preset: paper, strength: {choice: [0, 1]}}",
        "search.seeds=3",
        "search.baseline_seeds=3",
    )
    assert [tuple(values.values()) for values in file.settings()] == [(1, 1), (2, 0), (2, 1)]
    assert [tuple(values.values()) for values in file.stood_for()] == [(1, 0)]
    assert file.trials == 9


@pytest.mark.parametrize(
    ("weighting", "same"),
    [
        ("{kind: constant, alpha: 1}", True),
        ("{kind: constant, alpha: 1, languages: {gl: {alpha: 2}}}", False),
        ("{kind: dynamic, alpha: 1}", False),  # max(alpha, ratio) can be above 1
        ("{kind: linear_progressive, alpha_initial: 1, alpha_final: 2}", False),
    ],
)
def test_what_is_the_baseline(example: Path, weighting: str, same: bool) -> None:
    levels = f"search.alternatives={{w: {{a: {{weighting: {weighting}}}, b: {{}}}}}}"
    assert len(changed(example, *GRID, levels).stood_for()) == same


def test_another_optimizer_is_not_the_baseline(example: Path) -> None:
    rate = "training.optimizer.learning_rate={choice: [1e-5, 2e-5]}"
    baseline = "search.baseline.training.optimizer.learning_rate=1e-5"
    file = changed(example, *GRID, "weighting={kind: none}", rate, baseline)
    assert file.settings() == [{"training.optimizer.learning_rate": 2e-5}]


def test_a_grid_with_nothing_to_run(example: Path) -> None:
    with pytest.raises(InputError, match="a grid must have a setting that is not the baseline"):
        changed(example, *GRID, "weighting.alpha={choice: [1]}")


def test_errors(example: Path) -> None:
    alpha = "weighting.alpha={uniform: [1, 4]}"
    found = problems(example, ["search.sampler=grid", alpha, "search.seeds=2"])
    assert {problem.path: problem.got for problem in found} == {
        "search.trials": "20",
        "search.points": '"published"',
        "search.baseline_seeds": "1",
        "weighting.alpha": "{uniform: [1.0, 4.0]}",
    }
    assert "List its values: {choice: […]}" in "".join(map(str, found))
    found = problems(example, [alpha, "search.seeds=2", "search.trials=null"])
    assert {problem.path for problem in found} == {"search.seeds", "search.trials"}
