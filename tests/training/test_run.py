import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from raywce.cli.train import checkpoint_lines, report_line
from raywce.evaluation.metric import Metrics
from raywce.experiment.schema import Experiment
from raywce.runs.folder import STATE_FILE, RunFolder
from raywce.storage.files import copy_file, entries, write_text
from raywce.training import run
from raywce.trial_report import Report
from tests.s3_server import BUCKET, s3_server

METRICS = Metrics("wer_normalized", False, ("gl",), ("gl", "es"))


@pytest.fixture
def experiment() -> Experiment:
    return Experiment.model_validate(
        {
            "name": "a",
            "model": {"checkpoint": "m"},
            "data": {"folder": "d"},
            "languages": {"low_resource": ["gl"], "high_resource": ["es"]},
            "training": {"steps": 4},
        }
    )


def report(step: int, wer: float | None = None, **more: Any) -> Report:
    rates = {} if wer is None else {"wer": {"gl": wer, "es": 0.1}, "cer": {"gl": 0.2, "es": 0.1}}
    return Report(step, time_s=1.0 * step, final=step == 4, objective=wer, rates=rates, **more)


class Trainer:
    """Stands in for Ray Train: gives reports, and leaves the last and other checkpoints where Ray does."""

    def __init__(self, reports: list[Report], *kept: int) -> None:
        self.reports, self.kept, self.calls = reports, {4, *kept}, 0

    def __call__(self, experiment: Experiment, folder: str, name: str, on_report: Any) -> None:
        self.calls += 1
        for one in self.reports:
            on_report(one)
        for step in self.kept:
            for file in ("config.json", "model.safetensors", STATE_FILE):
                write_text(f"{folder}/{name}/step-{step:08d}/{file}", file)


def test_the_last_report_of_a_step_counts(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = [report(0, 0.9), report(2, 0.3), report(1), report(2, 0.4), report(4, 0.5)]
    monkeypatch.setattr(run, "run_trial", Trainer(reports, 2))
    outcome = run.train_run(experiment, RunFolder.of(str(tmp_path), "a"), lambda report: None)
    assert [one.step for one in outcome.reports] == [0, 1, 2, 4]
    assert outcome.original is not None
    assert outcome.original.wer["gl"] == 0.9
    assert outcome.best.step == 2
    assert outcome.best.objective == 0.4


@pytest.fixture(params=["disk", "S3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "disk":
        yield str(tmp_path / "runs")
    else:
        with s3_server(tmp_path / "s3"):
            yield f"s3://{BUCKET}/runs"


def test_a_training_is_finished_once_its_model_is_whole(
    experiment: Experiment, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.of(storage, "a")
    trainer = Trainer([report(4, 0.5)])
    monkeypatch.setattr(run, "run_trial", trainer)

    def cut_off(source: str, place: str) -> None:
        if place.endswith("model/config.json"):
            raise KeyboardInterrupt
        copy_file(source, place)

    with monkeypatch.context() as patch:
        patch.setattr("raywce.storage.files.copy_file", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run.train_run(experiment, folder, lambda report: None)
    assert run.finished_run(experiment, folder) is None
    run.train_run(experiment, folder, lambda report: None)
    outcome = run.finished_run(experiment, folder)
    assert outcome is not None
    assert {file.base_name for file in entries(outcome.model)} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize(
    ("reports", "kept", "best", "lowest"),
    [
        ([report(0, 0.2), report(2, 0.4), report(4, 0.5)], [2], 2, 0),  # the original model was better
        ([report(2, 0.3), report(4, 0.5)], [], 4, 2),  # an evaluation between two checkpoints
        ([report(2, 0.3), report(4, 0.5)], [2], 2, 2),
    ],
)
def test_a_best_checkpoint_is_one_that_is_there(
    experiment: Experiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reports: list[Report],
    kept: list[int],
    best: int,
    lowest: int,
) -> None:
    monkeypatch.setattr(run, "run_trial", Trainer(reports, *kept))
    outcome = run.train_run(experiment, RunFolder.of(str(tmp_path), "a"), lambda report: None)
    stored = outcome.as_json()
    assert stored["best_step"] == best
    assert Path(stored["best_checkpoint"], "config.json").is_file()
    lines = list(checkpoint_lines(outcome, METRICS))
    assert lines[0] == f"best checkpoint by low-resource WER: {stored['best_checkpoint']}"
    assert [f"at step {lowest}, whose checkpoint is not kept" in line for line in lines[1:]] == [True] * (
        best != lowest
    )


def test_without_a_checkpoint_none_is_named(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run_trial", Trainer([report(4, 0.5)]))
    folder = RunFolder.of(str(tmp_path), "a")
    run.train_run(experiment, folder, lambda report: None)
    shutil.rmtree(tmp_path / "a" / run.NAME)  # as somebody who needs the space may do
    outcome = run.finished_run(experiment, folder)
    assert outcome is not None
    assert outcome.as_json()["best_checkpoint"] is None
    assert [
        line.startswith("lowest low-resource WER: 50.00 % at step 4") for line in checkpoint_lines(outcome, METRICS)
    ] == [True]


def test_the_model_is_the_last_checkpoint_without_the_trainings_state(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer([report(4, 0.5)])
    monkeypatch.setattr(run, "run_trial", trainer)
    folder = RunFolder.of(str(tmp_path), "a")
    outcome = run.train_run(experiment, folder, lambda report: None)
    assert {path.name for path in Path(outcome.model).iterdir()} == {"config.json", "model.safetensors"}


def test_a_finished_training_is_known_without_a_cluster(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run_trial", Trainer([report(0, 0.9), report(4, 0.5)]))
    folder = RunFolder.of(str(tmp_path), "a")
    assert run.finished_run(experiment, folder) is None
    outcome = run.train_run(experiment, folder, lambda report: None)
    assert run.finished_run(experiment, folder) == outcome


def test_a_report_in_a_line() -> None:
    half = report_line(report(2, 0.255, skipped_steps=2, loss_scale=16384.0), METRICS)
    assert half.endswith("steps skipped, as gradients overflowed: 2 (scale 16384)")
    line = report_line(report(2, 0.255, loss={"gl": 1.5}, alpha={"gl": 2.0}, restarts=1), METRICS)
    assert line == (
        "step 2 | 2 s | loss gl 1.500 | alpha gl 2.000 | WER gl 25.50 es 10.00 % | CER gl 20.00 es 10.00 % "
        "| worker groups restarted: 1"
    )


def test_figures_of_another_part_of_dev_are_not_the_best(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = [report(2, 0.1, intermediate=True), report(4, 0.5)]
    monkeypatch.setattr(run, "run_trial", Trainer(reports))
    outcome = run.train_run(experiment, RunFolder.of(str(tmp_path), "a"), lambda report: None)
    assert outcome.best.step == 4


def test_the_reports_of_an_older_version_are_read(experiment: Experiment, tmp_path: Path) -> None:
    folder = RunFolder.of(str(tmp_path), "a")
    folder.write_text("model/config.json", "{}")
    rows = [{**report(step, wer).flat(), "on_the_way": step == 2} for step, wer in ((2, 0.1), (4, 0.5))]
    columns = [name for name in rows[0] if name != "intermediate"]
    folder.write_table("reports.parquet", pa.Table.from_pylist(rows).select(columns))
    outcome = run.finished_run(experiment, folder)
    assert outcome is not None
    assert outcome.lowest.step == 4
