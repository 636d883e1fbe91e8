from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raywce.experiment.schema import Languages
from raywce.experiment.space import Distribution
from raywce.runs.folder import RunFolder
from raywce.runs.tables import Trial, TrialTable
from raywce.search.checkpoints import Sweeper, best_trials
from raywce.selection.trials import BASELINE, COMPLETE, CONFIRM, FAIL, PRUNED, SEARCH
from raywce.trial_report import Report

SPACE = {"weighting.alpha": Distribution("uniform", (1.0, 6.0))}
MODEL = {"model.safetensors", "config.json"}


def row(trial_id: str, objective: float | None, violation: float = -1.0, state: str = COMPLETE) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "objective": objective,
        "violation": violation,
        "feasible": violation <= 0,
        "state": state,
    }


def test_the_best_are_feasible_then_nearest_to_it() -> None:
    rows = [row("a", 0.5), row("b", 0.4), row("c", 0.1, 2.0), row("d", 0.3, 1.0)]
    rows += [row("e", 0.2, state=PRUNED), row("f", None, state=FAIL)]
    assert best_trials(rows, 9) == ["b", "a", "d", "c"]
    assert best_trials(rows, 1) == ["b"]
    without_limits = [{**row(name, value), "violation": None, "feasible": True} for name, value in (("a", 2), ("b", 1))]
    assert best_trials(without_limits, 1) == ["b"]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(str(tmp_path))


@pytest.fixture
def table() -> TrialTable:
    return TrialTable(SPACE, Languages(low_resource=["gl"], high_resource=["es"]))


@pytest.fixture
def begin(folder: RunFolder, table: TrialTable) -> Callable[..., Trial]:
    """A trial that has come to step 20 with two checkpoints."""

    def make(trial_id: str, phase: str = SEARCH, objective: float = 0.5, alpha: float = 2.0) -> Trial:
        trial = Trial(phase, trial_id, 0, {"weighting.alpha": alpha})
        for step in (10, 20):
            report = {"step": step, "objective": objective, "feasible": True, "violation": -1.0, "final": step == 20}
            table.record(trial, Report.of(report))
            for file in (*MODEL, "training_state.pt"):
                folder.write_text(f"trials/{trial_id}/step-{step:08d}/{file}", "x")
        folder.write_text(f"trials/{trial_id}/utterances-00000020.parquet", "x")
        return trial

    return make


def left(folder: RunFolder, trial_id: str) -> set[str]:
    root = Path(folder.uri, "trials", trial_id)
    return {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}


OF_ALL = {"utterances-00000020.parquet"}
SLIM = OF_ALL | {f"step-00000020/{name}" for name in MODEL}


def test_an_ended_trial_keeps_its_last_model_and_a_running_one_everything(folder, table, begin) -> None:
    running, ended = begin("search-000-a"), begin("search-001-b")
    before = left(folder, running.trial_id)
    table.finish(ended, COMPLETE)
    Sweeper(folder, 3).sweep(table)
    assert left(folder, ended.trial_id) == SLIM
    assert left(folder, running.trial_id) == before
    assert len(before) == 7


def test_only_the_best_trials_of_the_search_keep_their_models(folder, table, begin) -> None:
    sweeper = Sweeper(folder, 2)
    for number, objective in enumerate([0.5, 0.4, 0.6, 0.3]):
        table.finish(begin(f"search-{number:03d}", objective=objective), COMPLETE)
        sweeper.sweep(table)
    kept = {name: left(folder, name) for name in table.trials}
    assert kept == {"search-000": OF_ALL, "search-001": SLIM, "search-002": OF_ALL, "search-003": SLIM}


def test_of_a_grid_the_models_of_the_best_setting_stay(folder, table, begin) -> None:
    sweeper = Sweeper(folder, 2, by_setting=True)
    objectives = {"a": [0.40, 0.42], "b": [0.45, 0.60], "c": [0.50, 0.35]}  # the best mean, and a lucky seed
    names = {}
    for seed in range(2):
        for level, by_seed in objectives.items():
            names[level, seed] = f"search-{len(names):03d}"
            table.finish(begin(names[level, seed], objective=by_seed[seed], alpha=float(ord(level))), COMPLETE)
            sweeper.sweep(table)
    kept = {name for name in names.values() if left(folder, name) == SLIM}
    assert kept == {names["a", 0], names["a", 1]}


@pytest.mark.parametrize("state", [FAIL, PRUNED])
def test_failed_and_stopped_trials_keep_no_model(folder, table, begin, state) -> None:
    table.finish(begin("search-000-a"), state)
    Sweeper(folder, 3).sweep(table)
    assert left(folder, "search-000-a") == OF_ALL


@pytest.mark.parametrize("phase", [BASELINE, CONFIRM])
def test_baseline_and_confirm_phase_keep_all_models(folder, table, begin, phase) -> None:
    for number in range(3):
        table.finish(begin(f"{phase}-{number}", phase), COMPLETE)
    Sweeper(folder, 1).sweep(table)
    assert [left(folder, f"{phase}-{number}") for number in range(3)] == [SLIM] * 3


def test_the_end_of_a_phase_removes_what_came_late_and_what_nobody_knows(folder, table, begin) -> None:
    stopped = begin("search-000-a")
    table.finish(stopped, PRUNED)
    sweeper = Sweeper(folder, 3)
    sweeper.sweep(table)
    folder.write_text("trials/search-000-a/step-00000020/model.safetensors", "late")
    folder.write_text("trials/search-007-c/step-00000010/model.safetensors", "never in the table")
    folder.write_text("trials/notes/mine.txt", "not a trial")
    sweeper.sweep(table)
    assert len(left(folder, "search-000-a")) == 2
    sweeper.sweep_all(table)
    assert left(folder, "search-000-a") == OF_ALL
    assert not Path(folder.uri, "trials", "search-007-c").exists()
    assert left(folder, "notes") == {"mine.txt"}
