from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from raywce.experiment.load import ExperimentFile
from raywce.runs.tables import Trial, TrialTable
from raywce.search.sampler import cube_of
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


def test_where_the_baseline_stands(tmp_path: Path) -> None:
    overrides = (
        "weighting={kind: family, alpha_initial: {uniform: [2, 6]}, alpha_final: {loguniform: [1, 8]}, "
        "ramp_start: {uniform: [0, 1]}, ramp_fraction: 1.0, adaptive: {choice: [true, false]}, "
        "ratio_cap: {choice: [5, null]}}",
        "augmentation.strength={uniform: [0, 2]}",
        "training.optimizer.learning_rate={loguniform: [1e-6, 1e-4]}",
    )
    file = surrogate.load_file(tmp_path, *overrides, points="none")
    cube = cube_of(file.optuna_space)
    row = dict(zip(cube.axes, baseline_row(cube, file.experiment.search.baseline), strict=True))
    assert row == pytest.approx(
        {
            "weighting.alpha_initial": -0.25,
            "weighting.alpha_final": 0.0,
            "weighting.ramp_start": 0.5,
            "weighting.adaptive": 1,
            "weighting.ratio_cap": 1,
            "augmentation.strength": 0.0,
            "training.optimizer.learning_rate": 0.5,
        }
    )


def test_a_level_stands_apart_from_all_and_the_baseline_is_none(tmp_path: Path) -> None:
    levels = {"clean": {"augmentation": {}}, "loud": {"augmentation": {"preset": "paper"}}}
    file = surrogate.load_grid(tmp_path, {"sound": levels}, seeds=1)
    cube = cube_of(file.optuna_space)
    assert baseline_row(cube, file.experiment.search.baseline).tolist() == [-1.0]
