from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pyarrow.parquet as pq
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raywce.errors import InputError, RunFailed
from raywce.run_folder import RunFolder
from raywce.search.phases import is_finished, run_search
from raywce.search.tables import SEARCH
from raywce.search.view import show_outcome
from tests.search import surrogate

pytestmark = pytest.mark.slow


def rows(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "trials.parquet").to_pylist()


def run(tmp_path: Path, trial: Any = surrogate.trial, *overrides: str, **search: Any) -> tuple[Any, Path]:
    file = surrogate.load_file(tmp_path, *overrides, **search)
    return run_search(file, trial=trial), tmp_path / "runs" / "toy"


def tracked(folder: Path, tracking_uri: str) -> None:
    """Each trial of each phase has its figures in TensorBoard's files in the run folder, and in MLflow."""
    trials = {row["trial_id"]: row for row in rows(folder) if row["final"]}
    runs = mlflow.MlflowClient(tracking_uri).search_runs(["1"])
    assert {one.info.run_name for one in runs} == set(trials)
    for one in runs:
        row = trials[one.info.run_name]
        (events,) = folder.glob(f"{row['phase']}/{row['trial_id']}/events.out.tfevents.*")
        curve = EventAccumulator(str(events)).Reload().Scalars("wer/gl")
        last = [(curve[-1].step, pytest.approx(curve[-1].value))]
        assert last == [(20, row["wer/gl"])]
        assert (one.info.status, one.data.metrics["wer/gl"], one.data.tags["phase"]) == (
            "FINISHED",
            row["wer/gl"],
            row["phase"],
        )


def test_a_whole_search(cluster: None, tmp_path: Path) -> None:
    tracking_uri = f"sqlite:///{tmp_path}/mlflow.db"
    outcome, folder = run(tmp_path, baseline_seeds=2, mlflow=tracking_uri)
    assert outcome.exit_code == 0
    tracked(folder, tracking_uri)
    assert outcome.references.baseline["gl"] == pytest.approx(0.4705)  # seeds 0 and 1
    assert outcome.references.baseline_deviation == pytest.approx({"gl": 0.001 / 2**0.5, "es": 0, "pt": 0})
    assert outcome.references.original == pytest.approx(surrogate.ORIGINAL)
    found = rows(folder)

    by_trial = {row["trial_id"]: row for row in found}
    assert [name for name in by_trial if name.startswith("baseline")] == ["baseline-0", "baseline-1"]
    assert by_trial["baseline-1"]["seed"] == 1
    assert by_trial["baseline-0"]["config/training.optimizer.learning_rate"] == 1e-5
    searched = [row for row in found if row["phase"] == SEARCH and row["final"]]
    assert len(searched) == 4
    for row in searched:  # an independent judgement of each
        alpha = row["config/weighting.alpha"]
        assert row["wer/es"] == pytest.approx(0.20 + 0.004 * (alpha - 1))
        assert row["violation/es"] == pytest.approx(0.4 * (alpha - 1) - 0.5)
        assert row["violation/pt"] == pytest.approx(0.2 * (alpha - 1) - 0.5)
        assert row["feasible"] == (alpha <= 2.25)
        assert row["violation"] == max(row["violation/es"], row["violation/pt"])
    feasible = [row for row in searched if row["feasible"]]
    assert outcome.best.trial_id == min(feasible, key=lambda row: row["wer/gl"])["trial_id"]

    utterances = pq.read_table(folder / "utterances.parquet")
    assert utterances.column_names[:2] == ["phase", "trial_id"]
    trials = {row["trial_id"]: row["hypothesis"] for row in utterances.to_pylist()}
    assert trials.pop("original") == "0"
    assert set(trials) == set(by_trial)
    assert set(trials.values()) == {"20"}
    assert json.loads((folder / "versions.json").read_text())["ray"]
    assert yaml.safe_load((folder / "experiment.yaml").read_text())["name"] == "toy"

    again = surrogate.load_file(tmp_path, baseline_seeds=2, mlflow=tracking_uri)
    assert is_finished(again, RunFolder(str(folder)), resume=False)
    assert run_search(replace(again), trial=surrogate.failing_run).best == outcome.best  # nothing ran again
    assert rows(folder) == found


def test_same_file_and_seed_give_the_same_table(cluster: None, tmp_path: Path) -> None:
    tables = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        tables.append(rows(run(tmp_path / name, points="none", sampler="random")[1]))
    for row in (row for table in tables for row in table):
        row.pop("utterances")
    assert tables[0] == tables[1]


def test_a_failed_trial_is_shown_with_its_reason_and_the_search_goes_on(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome, folder = run(tmp_path, surrogate.failing_trial)
    failed = [row for row in rows(folder) if row["state"] == "FAIL"]
    assert {row["reason"] for row in failed} == {"loss is not finite at step 11"}
    assert [row["step"] for row in failed] == [10]
    assert list(outcome.failed.values()) == ["loss is not finite at step 11"]
    assert outcome.trials == 4
    assert "failed: loss is not finite at step 11" in capsys.readouterr().out


def test_nothing_feasible_has_its_own_exit_code(cluster: None, tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, constraints={"reference": 5, "absolute_floor": 0.1})
    assert outcome.exit_code == 3
    assert outcome.best is None
    assert outcome.nearest.worst[0] == "es"


def test_a_failed_baseline_ends_the_search_and_is_tried_again(cluster: None, tmp_path: Path) -> None:
    file = surrogate.load_file(tmp_path)
    with pytest.raises(RunFailed, match="out of memory"):
        run_search(file, trial=surrogate.failing_run)
    assert run_search(file, trial=surrogate.trial).exit_code == 0


def test_a_folder_of_another_file_is_refused(tmp_path: Path) -> None:
    file = surrogate.load_file(tmp_path)
    folder = RunFolder.of(file.experiment.storage, "toy")
    folder.write_text("experiment.yaml", file.resolved_yaml().replace("steps: 20", "steps: 30"))
    with pytest.raises(InputError, match=r"training\.steps: must be 30, as in .*, but got 20"):
        run_search(file, trial=surrogate.trial)


def test_two_trials_of_two_workers_on_two_cpus_leave_nothing_behind(cluster: None, tmp_path: Path) -> None:
    import ray
    from ray.util import placement_group_table

    outcome, _ = run(tmp_path, surrogate.ray_train_trial, trials=2, max_concurrent_trials=2)
    assert outcome.trials == 2
    assert not outcome.failed
    groups = placement_group_table()
    assert len(groups) >= 3
    assert {group["state"] for group in groups.values()} == {"REMOVED"}
    assert ray.available_resources()["CPU"] == 2


def points(*alphas: float) -> list[dict[str, float]]:
    return [{"weighting.alpha": alpha, "training.optimizer.learning_rate": 1e-5} for alpha in alphas]


def test_trials_that_fall_behind_are_stopped_early(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alphas = (2.0, 6.0, 2.2, 1.0)  # feasible up to 2.25; the larger, the lower the WER of gl
    outcome, folder = run(
        tmp_path, surrogate.curve_trial, "training.evaluate_every=4", early_stopping=True, points=points(*alphas)
    )
    by_alpha: dict[float, list[dict[str, Any]]] = {alpha: [] for alpha in alphas}
    for row in rows(folder):
        if row["phase"] == SEARCH:
            by_alpha[row["config/weighting.alpha"]].append(row)
    assert {alpha: (of[-1]["state"], of[-1]["step"]) for alpha, of in by_alpha.items()} == {
        2.0: ("COMPLETE", 20),
        6.0: ("PRUNED", 4),  # infeasible, though its gl is the best
        2.2: ("COMPLETE", 20),
        1.0: ("PRUNED", 4),  # feasible, and the worst of those
    }
    for alpha, of in by_alpha.items():  # against the baseline at the same step, all curves being parallel
        violations = [row["violation/es"] for row in of if row["violation/es"] is not None]
        assert violations == pytest.approx([0.4 * (alpha - 1) - 0.5] * len(violations))
    assert outcome.best.values["weighting.alpha"] == 2.2
    assert (outcome.trials, outcome.feasible, outcome.stopped, outcome.failed) == (4, 2, 2, {})
    stored = json.loads((folder / "outcome.json").read_text())
    assert stored["stopped"] == 2
    assert stored["choice"].startswith("Sampler tpe, trials may be stopped early at step 4, 12")

    storage = JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    study = optuna.load_study(study_name="toy", storage=storage)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "COMPLETE", "PRUNED"]
    assert list(study.trials[1].intermediate_values) == [4]
    assert study.trials[1].constraints["es"] == pytest.approx(1.5)
    printed = capsys.readouterr().out
    assert "Sampler tpe, trials may be stopped early at step 4, 12" in printed
    assert printed.count("stopped early at step 4. search: ") == 2


def test_a_trial_that_is_stopped_early_ends_its_training_and_leaves_nothing_behind(
    cluster: None, tmp_path: Path
) -> None:
    import ray
    from ray.util import placement_group_table

    outcome, folder = run(
        tmp_path,
        surrogate.ray_train_curve,
        "training.steps=40",
        "training.evaluate_every=4",
        early_stopping=True,
        points=points(2.0, 6.0, 2.2),
        trials=3,
    )
    assert (outcome.trials, outcome.stopped, outcome.failed) == (3, 1, {})
    (stopped,) = {row["trial_id"] for row in rows(folder) if row["state"] == "PRUNED"}
    steps = [int(line) for line in (folder / "trials" / f"{stopped}.steps").read_text().split()]
    assert max(steps) < 40
    groups = placement_group_table()
    assert len(groups) >= 4
    assert {group["state"] for group in groups.values()} == {"REMOVED"}
    assert ray.available_resources()["CPU"] == 2


def late_trial(experiment: Any, folder: str, name: str, on_report: Any = None) -> None:
    """Two seconds behind its first evaluation: past a limit of one."""
    surrogate.trial(experiment, folder, name, late(on_report, experiment))


def late(on_report: Any, experiment: Any) -> Any:
    def tell(report: dict[str, Any]) -> None:
        if report["step"] == 10:
            on_report(surrogate.report(experiment, 10, surrogate.wers_at(experiment, 10)))
            time.sleep(2.0)
            report = {**report, "step": 11}
        on_report(report)

    return tell


@pytest.mark.parametrize(("at_limit", "state"), [("finish", "COMPLETE"), ("stop", "PRUNED")])
def test_a_time_limit_ends_the_search_and_what_runs_then_is_finished_or_stopped(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], at_limit: str, state: str
) -> None:
    search = {"time_limit_s": 4.0, "at_time_limit": at_limit, "points": "none", "sampler": "random"}
    file = surrogate.load_file(tmp_path, **search)
    folder = tmp_path / "runs" / "toy"
    folder.mkdir(parents=True)
    (folder / "search_clock.json").write_text('{"seconds": 3.5}')  # of an earlier command
    if at_limit == "stop":
        with pytest.raises(RunFailed, match=r"no trial was completed: 0 failed, 1 were stopped.*time limit"):
            run_search(file, trial=late_trial)
    else:
        outcome = run_search(file, trial=late_trial)
        show_outcome(outcome)
        assert outcome.out_of_time
        assert "the time limit was reached" in capsys.readouterr().out
    searched = [row for row in rows(folder) if row["phase"] == SEARCH]
    assert {row["state"] for row in searched} == {state}
    assert len({row["trial_id"] for row in searched}) == 1
    assert (max(row["step"] for row in searched) == 20) == (at_limit == "finish")
    assert json.loads((folder / "search_clock.json").read_text())["seconds"] > 4.0


LEVELS = {"alpha": {"plain": {}, "weak": {"weighting.alpha": 2.0}, "strong": {"weighting.alpha": 4.0}}}


def test_a_grid_over_two_seeds(cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = surrogate.load_grid(tmp_path, LEVELS, seeds=2)
    outcome = run_search(file, trial=surrogate.trial)
    found = [row for row in rows(tmp_path / "runs" / "toy") if row["phase"] == SEARCH and row["final"]]
    assert [(row["config/alpha"], row["seed"]) for row in found] == [
        ("weak", 0),
        ("strong", 0),
        ("weak", 1),
        ("strong", 1),
    ]
    assert len({row["trial_id"] for row in found}) == 4
    for row in found:  # each trained with the seed that its row names
        alpha = {"weak": 2.0, "strong": 4.0}[row["config/alpha"]]
        assert row["wer/gl"] == pytest.approx(0.50 - 0.03 * alpha + 0.001 * row["seed"])
    weak = outcome.settings[2]
    assert (weak.name, weak.runs, weak.wer["gl"]) == ("weak", 2, pytest.approx(0.4405))
    assert weak.against_baseline["gl"] == pytest.approx(100 * (0.4405 / 0.4705 - 1))
    assert outcome.best.values == {"alpha": "weak"}  # strong breaks a limit
    show_outcome(outcome)
    assert "44.05 ± 0.07" in capsys.readouterr().out


KILLED_GRID = """
import sys
from pathlib import Path
from raywce.search.phases import run_search
from tests.search import surrogate, test_phases
run_search(surrogate.load_grid(Path(sys.argv[1]), test_phases.LEVELS, seeds=2), trial=surrogate.slow_trial)
"""


def test_a_killed_grid_goes_on_to_the_same_table(cluster: None, tmp_path: Path) -> None:
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    killed.mkdir()
    undisturbed.mkdir()
    kill_once_begun(killed, 2, KILLED_GRID)
    tables = []
    for folder in (killed, undisturbed):
        run_search(surrogate.load_grid(folder, LEVELS, seeds=2), trial=surrogate.slow_trial)
        tables.append(rows(folder / "runs" / "toy"))
    for row in [row for table in tables for row in table]:
        row.pop("utterances")
    assert tables[0] == tables[1]


KILLED = """
import sys
from pathlib import Path
from tests.search import surrogate
from tests.search.test_phases import SEARCHES, run
trial, overrides, search = SEARCHES[sys.argv[2]]
run(Path(sys.argv[1]), trial, *overrides, **search)
"""
SEARCHES: dict[str, tuple[Any, list[str], dict[str, Any]]] = {
    "whole trials": (surrogate.slow_trial, [], {"sampler": "random"}),
    # 5.0 is to be stopped for what the two before it came to at the first rung
    "stopped early": (
        surrogate.slow_curve_trial,
        ["training.evaluate_every=4"],
        {"sampler": "random", "early_stopping": True, "points": points(2.0, 6.0, 5.0, 2.2)},
    ),
}


@pytest.mark.parametrize(("kind", "begun"), [("whole trials", 2), ("stopped early", 3)])
def test_a_killed_search_goes_on_to_the_same_table(cluster: None, tmp_path: Path, kind: str, begun: int) -> None:
    trial, overrides, search = SEARCHES[kind]
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    killed.mkdir()
    undisturbed.mkdir()
    began = kill_once_begun(killed, begun, KILLED, kind)
    before = [row for row in rows(killed / "runs" / "toy") if row["state"] != "RUNNING"]
    assert 0 < len({row["trial_id"] for row in before}) < 5

    after = rows(run(killed, trial, *overrides, **search)[1])
    expected = rows(run(undisturbed, trial, *overrides, **search)[1])
    for row in [*before, *after, *expected]:
        row.pop("utterances")
    assert after == expected
    assert all(row in after for row in before)
    assert began.read_text().split().count("baseline-0") == 1  # the finished phase is not run again
    states = {row["config/weighting.alpha"]: row["state"] for row in after if row["phase"] == SEARCH}
    stopped = {alpha for alpha, state in states.items() if state == "PRUNED"}
    assert stopped == ({6.0, 5.0} if kind == "stopped early" else set())


def kill_once_begun(folder: Path, trials: int, script: str, *arguments: str) -> Path:
    """Run `script` on `folder` and kill it once so many trials of the search began; the file of what began."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "RAY_ADDRESS": "local"},
    )
    began = folder / "runs" / "began"
    end = time.monotonic() + 120
    while not (began.exists() and began.read_text().count("search") >= trials) and time.monotonic() < end:
        time.sleep(0.2)
    process.kill()
    process.wait()
    return began
