from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raywce.experiment.load import load
from raywce.selection.sampler_choice import Choice, chosen
from tests.search import surrogate


def choice(folder: Path, *overrides: str, **search: Any) -> Choice:
    file = load(surrogate.write_file(folder, **search), list(overrides), check_files=False)
    return chosen(file.experiment, file.space)


EVERY = "training.evaluate_every=2"  # of 20 steps
RAMP = "weighting={kind: family, alpha_initial: 2, alpha_final: {uniform: [1, 6]}, ramp_start: {uniform: [0, %s]}}"


def test_auto_is_the_noise_aware_sampler_over_whole_trainings(tmp_path: Path) -> None:
    found = choice(tmp_path)
    assert (found.sampler, found.rungs) == ("noise_aware", ())
    assert str(found) == "Sampler noise_aware, each trial at its full length: search.early_stopping is false."


def test_auto_with_early_stopping_is_tpe(tmp_path: Path) -> None:
    found = choice(tmp_path, EVERY, early_stopping=True)
    assert (found.sampler, found.rungs) == ("tpe", (2, 6, 18))
    assert "may be stopped early at step 2, 6, 18" in str(found)
    assert "one in 3" in str(found)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], "no evaluation before the end"),
        (["training.evaluate_every=20"], "no evaluation before the end"),
        (["training.evaluate_every=12"], "step 12 of 20: at most 40 %"),
        ([EVERY, RAMP % 0.75, "search.points=none"], "step 16 of 20: at most 20 %"),
        ([EVERY, "training.optimizer.warmup_steps=13"], "reach to step 13"),
        ([EVERY, "training.optimizer.warmup_steps=20"], "step 20 of 20: at most 0 %"),
    ],
)
def test_auto_declines_to_stop_early_where_that_saves_less_than_half(
    tmp_path: Path, overrides: list[str], words: str
) -> None:
    found = choice(tmp_path, *overrides, early_stopping=True)
    assert (found.sampler, found.rungs) == ("noise_aware", ())
    assert "declined" in found.why
    assert words in found.why


def test_auto_takes_a_first_rung_at_half_of_the_training(tmp_path: Path) -> None:
    assert choice(tmp_path, "training.evaluate_every=10", early_stopping=True).rungs == (10,)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_what_the_file_asks_for_is_taken(tmp_path: Path, sampler: str) -> None:
    late = [EVERY, "training.optimizer.warmup_steps=13"]
    assert choice(tmp_path, *late, sampler=sampler).rungs == ()
    found = choice(tmp_path, *late, sampler=sampler, early_stopping=True)
    assert (found.sampler, found.rungs) == (sampler, (14,))
    assert choice(tmp_path, sampler="gp").sampler == "gp"
