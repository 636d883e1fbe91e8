from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pyarrow.parquet as pq
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raywce.cluster.connect import Cluster
from raywce.errors import InputError, RunFailed
from raywce.experiment.load import ExperimentFile
from raywce.experiment.schema import Experiment
from raywce.runs.folder import RunFolder
from raywce.screen.outcome import show_outcome
from raywce.search import clock
from raywce.search.phases import is_finished, run_search
from raywce.search.sampler import RATES
from raywce.search.study import open_journal
from raywce.selection.trials import SEARCH
from raywce.storage.files import write_table
from raywce.trial_report import Report
from tests.search import decoded_tables, surrogate

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


def test_a_whole_search(
    cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking_uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    outcome, folder = run(tmp_path, baseline_seeds=2, trackers=["tensorboard", "mlflow"])
    assert outcome.exit_code == 0
    assert outcome.label == json.loads((folder / "outcome.json").read_text())["label"] == "capped WER"
    assert "capped WER in %: gl" in capfd.readouterr().out
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

    again = surrogate.load_file(tmp_path, baseline_seeds=2, trackers=["tensorboard", "mlflow"])
    assert is_finished(again, RunFolder(str(folder)), resume=False)
    assert run_search(replace(again), trial=surrogate.failing_run).best == outcome.best  # nothing ran again
    assert rows(folder) == found


def by_characters_too(
    experiment: Experiment, folder: str, name: str, on_report: Callable[[Report], None] | None = None
) -> None:
    """As the surrogate's trial, with a fourth language, whose CER falls with alpha and whose WER is of no use."""
    assert on_report is not None
    alpha = getattr(experiment.weighting, "alpha", 1.0)
    for step in (0, 20) if experiment.training.evaluate_at_start else (20,):
        rates = surrogate.wers(experiment) | {"ja": 0.12 - 0.01 * alpha}
        path = f"{folder}/{name}-{step}.parquet"
        write_table(path, decoded_tables.decoded(rates, experiment.training.seed))
        made = surrogate.report(experiment, step, rates | {"ja": 0.97}, utterances=path)
        on_report(replace(made, rates=made.rates | {"cer": {**made.cer, "ja": rates["ja"]}}))


def test_a_search_over_a_wer_and_a_cer(cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    languages = "languages={low_resource: [gl, ja], high_resource: [es, pt], language_tokens: {ja: gl}}"
    outcome, folder = run(tmp_path, by_characters_too, languages, "evaluation.metric=auto")
    assert outcome.baseline_objective == 1.0
    baseline = outcome.references.baseline
    assert baseline["ja"] == pytest.approx(0.11)
    for row in [row for row in rows(folder) if row["phase"] == SEARCH and row["final"]]:
        shares = [row["wer/gl"] / baseline["gl"], row["cer/ja"] / baseline["ja"]]
        assert row["objective"] == pytest.approx(sum(shares) / 2)
    study = optuna.load_study(study_name="toy", storage=open_journal(folder / "optuna.journal"))
    for trial in study.trials:
        assert trial.value == pytest.approx(sum(trial.user_attrs[RATES][of] / baseline[of] for of in ("gl", "ja")) / 2)
        assert trial.user_attrs[RATES]["ja"] < baseline["ja"]
    assert "ja (CER) 11.00, es (WER) 20.00" in capfd.readouterr().out


def test_a_folder_of_another_file_is_refused(tmp_path: Path) -> None:
    file = surrogate.load_file(tmp_path)
    folder = RunFolder.of(file.experiment.storage, "toy")
    folder.write_text("experiment.yaml", file.resolved_yaml().replace("steps: 20", "steps: 30"))
    with pytest.raises(InputError, match=r"training\.steps: must be 30, as in .*, but got 20"):
        run_search(file, trial=surrogate.trial)


def points(*alphas: float) -> list[dict[str, float]]:
    return [{"weighting.alpha": alpha, "training.optimizer.learning_rate": 1e-5} for alpha in alphas]


@dataclass(frozen=True)
class Done:
    """A search that came to its end, and what it printed."""

    outcome: Any
    folder: Path
    printed: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of its table, but for the files' names."""
        return [{**row, "utterances": None} for row in rows(self.folder)]


def done(file: ExperimentFile, trial: Any) -> Done:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        outcome = run_search(file, trial=trial)
        show_outcome(outcome)
    return Done(outcome, Path(file.experiment.storage, "toy"), printed.getvalue())


ALPHAS = (2.0, 6.0, 2.2, 1.0)  # feasible up to 2.25; the larger, the lower the WER of gl


def early_file(folder: Path, *overrides: str) -> ExperimentFile:
    every = "training.evaluate_every=4"
    return surrogate.load_file(folder, every, *overrides, early_stopping=True, points=points(*ALPHAS))


@pytest.fixture(scope="module")
def early(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A search that stops trials early."""
    return done(early_file(tmp_path_factory.mktemp("early")), surrogate.curve_trial)


def test_trials_that_fall_behind_are_stopped_early(early: Done) -> None:
    outcome, folder = early.outcome, early.folder
    by_alpha: dict[float, list[dict[str, Any]]] = {alpha: [] for alpha in ALPHAS}
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

    study = optuna.load_study(study_name="toy", storage=open_journal(folder / "optuna.journal"))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "COMPLETE", "PRUNED"]
    assert list(study.trials[1].intermediate_values) == [4]
    assert study.trials[1].constraints["es"] == pytest.approx(1.5)
    assert "Sampler tpe, trials may be stopped early at step 4, 12" in early.printed
    assert early.printed.count("stopped early at step 4. search: ") == 2


def test_trials_of_two_workers_on_two_cpus_and_one_that_is_stopped_leave_nothing_behind(
    cluster: Cluster, tmp_path: Path
) -> None:
    import ray
    from ray.util import placement_group_table

    outcome, folder = run(
        tmp_path,
        surrogate.ray_train_curve,
        "training.evaluate_every=2",
        early_stopping=True,
        points=points(2.0, 6.0),
        trials=2,
        max_concurrent_trials=2,
    )
    assert (outcome.trials, outcome.stopped, outcome.failed) == (2, 1, {})
    (stopped,) = {row["trial_id"] for row in rows(folder) if row["state"] == "PRUNED"}
    steps = [int(line) for line in (folder / "trials" / f"{stopped}.steps").read_text().split()]
    assert max(steps) < 20
    groups = placement_group_table()
    assert len(groups) >= 3
    assert {group["state"] for group in groups.values()} == {"REMOVED"}
    assert ray.available_resources()["CPU"] == 2


def test_trials_with_one_worker_follow_each_other_in_a_process_and_a_lost_one_is_replaced(
    cluster: Cluster, early: Done, tmp_path: Path
) -> None:
    file = early_file(tmp_path, "resources.workers=1", "search.max_concurrent_trials=1")
    found = done(file, surrogate.lost_once)
    restarts = {row["config/weighting.alpha"]: row["restarts"] for row in found.rows if row["phase"] == SEARCH}
    assert restarts == {2.0: 0, 6.0: 1, 2.2: 0, 1.0: 0}
    assert [{**row, "restarts": 0} for row in found.rows] == early.rows
    processes = [path.read_text().split() for path in sorted((found.folder / "trials").glob("search-*.pids"))]
    (first,), (lost, second), (third,), (fourth,) = processes
    assert first == lost != second
    assert second == third == fourth, "of a trial that is stopped early, too"


class Jump:
    """A clock that stands still until a file is there, and then is far ahead."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def monotonic(self) -> float:
        return 1000.0 if self.file.exists() else 0.0


def mishaps(experiment: Experiment, folder: str, name: str, on_report: Callable[[Report], None] | None = None) -> None:
    """As `surrogate.trial`; alpha 2 fails half-way, and with alpha 3 the search's time is over."""
    assert on_report is not None
    alpha = getattr(experiment.weighting, "alpha", None)
    if alpha == 2.0:
        on_report(surrogate.report(experiment, 10, None))
        raise RunFailed("loss is not finite at step 11")
    if alpha == 3.0:
        (Path(folder).parent / "over").touch()
        time.sleep(1.0)  # so that the driver's process sees it
    surrogate.trial(experiment, folder, name, on_report)


def test_a_failed_baseline_a_failed_trial_a_time_limit_and_nothing_feasible(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"reference": 5, "absolute_floor": 0.1}
    file = surrogate.load_file(tmp_path, time_limit_s=100.0, points=points(2.0, 3.0, 4.0), constraints=limits)
    with pytest.raises(RunFailed, match="out of memory"):
        run_search(file, trial=surrogate.failing_run)
    monkeypatch.setattr(clock, "time", Jump(tmp_path / "runs" / "toy" / "over"))
    found = done(file, mishaps)  # the baseline is tried again
    last = {row["trial_id"].rpartition("-")[0]: row for row in found.rows}
    states = {name: (row["state"], row["step"], row["reason"]) for name, row in last.items()}
    reason = "loss is not finite at step 11"
    assert states["search-000"] == ("FAIL", 10, reason)
    assert states["search-001"] == ("COMPLETE", 20, None)
    assert len(states) == 3, "no trial begins when the time is over"
    assert list(found.outcome.failed.values()) == [reason]
    assert (found.outcome.exit_code, found.outcome.best, found.outcome.nearest.worst[0]) == (3, None, "es")
    assert found.outcome.out_of_time
    assert f"failed: {reason}" in found.printed
    assert "the time limit was reached" in found.printed
    assert json.loads((found.folder / "search_clock.json").read_text())["seconds"] == 1000.0


LEVELS = {"alpha": {"plain": {}, "weak": {"weighting.alpha": 2.0}, "strong": {"weighting.alpha": 4.0}}}


def test_a_grid_over_two_seeds(cluster: Cluster, tmp_path: Path) -> None:
    grid = done(surrogate.load_grid(tmp_path, LEVELS, seeds=2), surrogate.trial)
    found = [row for row in grid.rows if row["phase"] == SEARCH and row["final"]]
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
    weak = grid.outcome.settings[2]
    assert (weak.name, weak.runs, weak.wer["gl"]) == ("weak", 2, pytest.approx(0.4405))
    assert weak.against_baseline["gl"] == pytest.approx(100 * (0.4405 / 0.4705 - 1))
    assert grid.outcome.best.values == {"alpha": "weak"}  # strong breaks a limit
    assert "44.05 ± 0.07" in grid.printed


KILLED = """
import sys
from pathlib import Path
from raywce.search.phases import run_search
from tests.search import surrogate, test_phases
folder = Path(sys.argv[1])
if sys.argv[2] == "two":
    run_search(test_phases.two_at_once(folder), trial=surrogate.slow_trial)
else:
    run_search(test_phases.early_file(folder), trial=surrogate.slow_curve_trial)
"""


def two_at_once(folder: Path) -> ExperimentFile:
    return surrogate.load_file(folder, "resources.workers=1", points="none", trials=5, max_concurrent_trials=2)


def test_a_killed_search_with_early_stopping_goes_on_to_the_same_table(
    cluster: Cluster, early: Done, tmp_path: Path
) -> None:
    before, began = kill_once_begun(cluster, tmp_path, 3, "early")
    after = done(early_file(tmp_path), surrogate.slow_curve_trial).rows
    assert after == early.rows  # alpha 1 is stopped for what the three before it came to at the first rung
    assert all(row in after for row in before)
    assert began.read_text().split().count("baseline-0") == 1  # the finished phase is not run again


def test_a_killed_search_with_two_trials_at_once_keeps_what_finished_and_runs_nothing_twice(
    cluster: Cluster, tmp_path: Path
) -> None:
    before, began = kill_once_begun(cluster, tmp_path, 4, "two")  # two have ended, and are in the table
    found = done(two_at_once(tmp_path), surrogate.slow_trial)
    assert all(row in found.rows for row in before)
    names = began.read_text().split()
    assert {names.count(row["trial_id"]) for row in before} == {1}
    searched = [row for row in found.rows if row["phase"] == SEARCH and row["final"]]
    assert sorted(row["trial_id"].split("-")[1] for row in searched) == ["000", "001", "002", "003", "004"]
    assert len({row["config/weighting.alpha"] for row in searched}) == 5
    study = optuna.load_study(study_name="toy", storage=open_journal(found.folder / "optuna.journal"))
    named = [trial for trial in study.trials if "trial_id" in trial.user_attrs]  # one killed before that has none
    recorded = {trial.user_attrs["trial_id"]: (trial.state.name, trial.value) for trial in named}
    assert recorded == {row["trial_id"]: (row["state"], row["objective"]) for row in searched}


def kill_once_begun(cluster: Cluster, folder: Path, trials: int, kind: str) -> tuple[list[dict[str, Any]], Path]:
    """Run `KILLED` and kill it once so many trials of the search began, with some still to come.

    Returns:
        The rows of the trials that had ended, and the file of what began.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), kind],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "RAY_ADDRESS": cluster.address},
    )
    began = folder / "runs" / "began"
    end = time.monotonic() + 120
    while not (began.exists() and began.read_text().count("search") >= trials) and time.monotonic() < end:
        time.sleep(0.1)
    assert process.poll() is None, "it ended by itself"
    process.kill()
    process.wait()
    found = [{**row, "utterances": None} for row in rows(folder / "runs" / "toy")]
    ended = [row for row in found if row["state"] != "RUNNING"]
    of_search = {row["trial_id"] for row in ended if row["phase"] == SEARCH}
    assert 0 < len(of_search) < 4, "it was not midway"
    assert not (folder / "runs" / "toy" / "outcome.json").exists()
    return ended, began
