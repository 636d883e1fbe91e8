from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from raywce.experiment.load import ExperimentFile
from raywce.runs.tables import Trial, TrialTable
from raywce.search.task import baseline_row, task_of
from raywce.selection.trials import BASELINE, COMPLETE
from tests.search import surrogate
from tests.search.decoded_tables import SPEAKERS, UTTERANCES, WORDS, decoded


def after_baseline(tmp_path: Path, **search: Any) -> tuple[ExperimentFile, TrialTable]:
    """A file, and the table of its two baseline runs; the first evaluated the original too."""
    file = surrogate.load_file(tmp_path, **search)
    table = TrialTable(file.space, file.experiment.languages)
    for seed in range(2):
        trial = Trial(BASELINE, f"baseline-{seed}", seed, {})
        rates = {"gl": 0.40 + 0.02 * seed, "es": 0.20, "pt": 0.10}
        path = tmp_path / f"{seed}.parquet"
        pq.write_table(decoded(rates), path)
        if seed == 0:
            table.record(trial, surrogate.report(file.experiment, 0, surrogate.ORIGINAL, utterances=str(path)))
        table.record(trial, surrogate.report(file.experiment, 20, rates, utterances=str(path)))
        table.finish(trial, COMPLETE)
    return file, table


def test_a_task_is_what_file_and_baseline_say(tmp_path: Path) -> None:
    constraints = {"absolute_floor": 1.0, "languages": {"pt": {"reference": "original"}}}
    task = task_of(
        *after_baseline(tmp_path, constraints=constraints, confirm={"candidates": 1, "seeds": 5, "dev_share": 0.75})
    )
    world = task.world
    assert list(task.languages) == ["gl", "es", "pt"]
    assert world.baseline == pytest.approx(np.array([[0.40, 0.20, 0.10], [0.42, 0.20, 0.10]]))
    assert [rule.floor for rule in world.rules] == [0.01, 0.01]
    assert world.fixed.tolist() == pytest.approx([np.nan, surrogate.ORIGINAL["pt"]], nan_ok=True)
    assert world.words.tolist() == [UTTERANCES * WORDS] * 3
    assert world.noise.suits == pytest.approx(np.full(3, 0.1**2 / SPEAKERS))  # all of them say as much
    assert (task.plan.seeds, task.plan.baseline_seeds, task.plan.confidence) == (5, 5, 0.95)
    assert task.plan.speech == pytest.approx(1 / 3)
    assert world.at == pytest.approx([0.0, 1 / 3])  # alpha 1, learning rate 1e-5


def test_without_a_confirm_phase_there_is_no_plan(tmp_path: Path) -> None:
    task = task_of(*after_baseline(tmp_path, trials=9))
    assert task.plan is None
    assert task.trials == 9


FAMILY = (
    "weighting={kind: family, alpha_initial: {uniform: [2, 6]}, alpha_final: {loguniform: [1, 8]}, "
    "ramp_start: {uniform: [0, 1]}, ramp_fraction: 1.0, adaptive: {choice: [true, false]}, "
    "ratio_cap: {choice: [5, null]}}"
)
SHARES = "data.sampling.shares={gl: 1, es: 1, pt: 1}"


def row_of(folder: Path, *overrides: str) -> dict[str, float]:
    """The baseline's place on each axis."""
    file = surrogate.load_file(folder, *overrides, points="none")
    return dict(zip(file.space, baseline_row(file), strict=True))


def test_where_the_baseline_stands(tmp_path: Path) -> None:
    rate = "training.optimizer.learning_rate={loguniform: [1e-6, 1e-4]}"
    assert row_of(tmp_path, FAMILY, SHARES, "augmentation.strength={uniform: [0, 2]}", rate) == pytest.approx(
        {
            "weighting.alpha_initial": -0.25,
            "weighting.alpha_final": 0.0,
            "weighting.ramp_start": 0.5,
            "weighting.adaptive": 1,
            "weighting.ratio_cap": 0,  # makes no difference without a gate
            "augmentation.strength": 0.0,
            "training.optimizer.learning_rate": 0.5,
        }
    )


@pytest.mark.parametrize(
    ("augmentation", "at"),
    [
        ("strength: {uniform: [0, 2]}", {"strength": 0.0}),
        ("strength: {uniform: [0.5, 1]}", {"strength": -1.0}),
        ("copies: {int: [0, 3]}", {"copies": 1 / 8}),  # of four whole numbers
        ("copies: {choice: [1, 0]}", {"copies": 1}),
    ],
)
def test_a_value_that_turns_augmentation_off_is_the_baselines(
    tmp_path: Path, augmentation: str, at: dict[str, float]
) -> None:
    row = row_of(tmp_path, SHARES, f"augmentation={{preset: paper, {augmentation}}}")
    expected = {f"augmentation.{key}": place for key, place in at.items()}
    assert row == pytest.approx({"weighting.alpha": 0.0, "training.optimizer.learning_rate": 1 / 3} | expected)


@pytest.mark.parametrize(
    "overrides",
    [
        ("augmentation={preset: paper}",),
        ("augmentation={preset: paper, copies: all}",),
        ("augmentation={copies: all, time_stretch: {probability: 0.5, rate: {uniform: [0, 0.2]}}}",),
        ("augmentation={copies: all, white_noise: {probability: 0.5, amplitude: {loguniform: [0.001, 0.02]}}}",),
        ("augmentation={preset: paper, copies: {choice: [1, all]}}", SHARES),
        ("augmentation={preset: paper, strength: {loguniform: [0.1, 2]}}", SHARES),  # no logarithm of 0
        ("weighting={kind: dynamic, alpha: {uniform: [1, 3]}}",),
        ("weighting={kind: constant, alpha: {choice: [2, 3]}}",),
        ("weighting={kind: constant, alpha: {uniform: [1, 3]}, languages: {gl: {alpha: 2}}}",),
        ("augmentation={preset: paper, strength: {uniform: [0, 1]}}",),  # any strength doubles gl's share at once
    ],
    ids=lambda overrides: overrides[0],
)
def test_the_baseline_is_no_setting_where_none_trains_as_it_does(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    assert np.isnan(list(row_of(tmp_path, *overrides).values())).all()


def test_the_baselines_own_value_may_be_none_of_the_choices(tmp_path: Path) -> None:
    search = {"points": "none", "baseline": {"model.lora.rank": 0}}
    fixed = "training.optimizer.learning_rate=1e-5"
    file = surrogate.load_file(tmp_path, fixed, "model.lora.rank={choice: [8, 16]}", **search)
    row = dict(zip(file.space, baseline_row(file), strict=True))
    assert row["weighting.alpha"] == 0.0
    assert np.isnan(row["model.lora.rank"])


def test_the_baseline_stands_at_the_levels_that_are_it(tmp_path: Path) -> None:
    sound = {"loud": {"augmentation": {"preset": "paper"}}, "clean": {"augmentation": {}}}
    weight = {"plain": {"weighting": {"kind": "none"}}, "three": {"weighting": {"kind": "constant", "alpha": 3}}}
    file = surrogate.load_grid(tmp_path, {"sound": sound, "weight": weight}, seeds=1)
    assert baseline_row(file).tolist() == [1.0, 0.0]
    noisy = {"sound": {"loud": sound["loud"], "louder": {"augmentation": {"preset": "paper", "strength": 2}}}}
    assert np.isnan(baseline_row(surrogate.load_grid(tmp_path, noisy, seeds=1))).all()
