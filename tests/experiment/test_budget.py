from __future__ import annotations

from pathlib import Path

import pytest

from raywce.errors import InputError
from raywce.experiment.schema import Search
from tests.experiment.example import FAMILY, changed


def numbers(example: Path, *overrides: str) -> tuple[int, int | None, int]:
    """Seeds of the baseline, trials, and seeds of each arm of the confirm phase."""
    return of(changed(example, FAMILY, *overrides, check_files=False).experiment.search)


def of(search: Search) -> tuple[int, int | None, int]:
    return search.baseline_seeds, search.trials, search.confirm.seeds


@pytest.mark.parametrize(
    ("trainings", "shares"), [(57, (6, 27, 5)), (30, (6, 10, 3)), (40, (6, 15, 4)), (100, (8, 49, 9))]
)
def test_one_number_is_shared_out(example: Path, trainings: int, shares: tuple[int, int, int]) -> None:
    found = numbers(example, f"search.trainings={trainings}")
    assert found == shares
    assert found[0] + found[1] + 3 * found[2] + round(3**0.5 * found[2]) == trainings


def test_what_the_file_gives_stays(example: Path) -> None:
    assert numbers(example, "search.trials=9") == (6, 9, 5)
    assert numbers(example, "search.confirm.seeds=4") == (6, 32, 4)
    assert numbers(example, "search.baseline_seeds=3", "search.confirm.candidates=1") == (3, 30, 12)


def test_without_a_confirm_phase_the_trials_have_the_rest(example: Path) -> None:
    baseline, trials, _ = numbers(example, "search.trainings=30", "search.confirm.candidates=0")
    assert (baseline, trials) == (6, 24)


def test_too_few_are_refused_with_how_many_it_takes(example: Path) -> None:
    with pytest.raises(InputError) as caught:
        numbers(example, "search.trainings=20")
    (problem,) = caught.value.problems
    assert str(problem) == (
        "search.trainings: must be at least 26 (6 of the baseline, 14 of the confirm phase, 6 trials), but got 20"
    )
    numbers(example, "search.trainings=26")


def test_a_grid_has_its_own_numbers(example: Path) -> None:
    grid = ["search.sampler=grid", "search.points=none", "search.seeds=2", "search.confirm.candidates=0"]
    weighting = "weighting={kind: constant, alpha: {choice: [2, 3]}}"
    found = changed(example, weighting, *grid, check_files=False)
    assert of(found.experiment.search)[:2] == (2, None)
    assert found.trials == 4
