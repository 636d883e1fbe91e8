from __future__ import annotations

import json
import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray.tune.logger import TBXLoggerCallback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from raywce.errors import Problem
from raywce.experiment import environment
from raywce.runs.folder import RunFolder
from raywce.search.mlflow_tracker import MLflow
from raywce.search.trackers import TensorBoard, figures
from tests.search import surrogate

VALUES = {"weighting.alpha": 2.5, "augmentation.white_noise.snr": None, "weighting.adaptive": True}
REPORTS: list[dict[str, Any]] = [
    {"step": 0, "training_iteration": 1, "objective": None, "wer/gl": 0.6, "wer_raw/gl": 0.7, "time_s": 3.0},
    {"step": 10, "training_iteration": 2, "objective": None, "loss/gl": 1.5, "alpha/gl": 2.5},
    {"step": 20, "training_iteration": 3, "objective": 0.4, "wer/gl": 0.4, "final": True},
]


@dataclass(eq=False)
class TuneTrial:
    """What the callbacks see of one."""

    local_path: str
    config: dict[str, Any] = field(default_factory=lambda: {"trial_id": "search-0", "values": VALUES, "seed_index": 1})
    last_result: dict[str, Any] = field(default_factory=dict)
    name: str = "search-0"

    def init_local_path(self) -> None:
        """Tune makes the folder."""

    def __str__(self) -> str:
        return self.name


def told(callback: Any, trial: TuneTrial) -> None:
    callback.log_trial_start(trial)
    for report in REPORTS:
        callback.log_trial_result(0, trial, report)
    callback.log_trial_end(trial)


def test_what_is_worth_a_curve_has_the_tables_names() -> None:
    assert figures(REPORTS[0]) == {"wer/gl": 0.6}
    assert figures(REPORTS[1]) == {"loss/gl": 1.5, "alpha/gl": 2.5}
    assert figures({**REPORTS[2], "violation/es": -1}) == {"objective": 0.4, "wer/gl": 0.4, "violation/es": -1.0}


def test_tensorboard_shows_figures_at_their_own_steps_and_hyperparameters(tmp_path: Path) -> None:
    told(TensorBoard(), TuneTrial(str(tmp_path)))
    read = EventAccumulator(str(tmp_path)).Reload()
    assert {"wer/gl", "loss/gl", "alpha/gl", "objective"} == set(read.Tags()["scalars"])
    assert [(event.step, pytest.approx(event.value)) for event in read.Scalars("wer/gl")] == [(0, 0.6), (20, 0.4)]
    metadata = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(metadata).session_start_info.hparams
    assert started["weighting.alpha"].number_value == 2.5
    assert started["augmentation.white_noise.snr"].string_value == "None"
    assert started["seed_index"].number_value == 1


def test_it_takes_the_place_of_tunes_own() -> None:
    assert isinstance(TensorBoard(), TBXLoggerCallback)


def test_mlflow_has_a_run_a_trial(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="pip install 'raywce[mlflow]'")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    callback = MLflow(uri, "toy", "search")
    callback.setup()
    told(callback, TuneTrial(str(tmp_path)))
    failed = TuneTrial(str(tmp_path), {"run": {"trial_id": "baseline-0"}}, {"failure": "out of memory"})
    told(callback, failed)

    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("toy")
    baseline, trial = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    assert (trial.info.run_name, trial.info.status, baseline.info.status) == ("search-0", "FINISHED", "FAILED")
    assert trial.data.tags["phase"] == "search"
    assert trial.data.params["weighting.alpha"] == "2.5"
    assert baseline.data.params == {"seed_index": "0"}
    history = client.get_metric_history(trial.info.run_id, "wer/gl")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.6), (20, 0.4)]
    assert set(trial.data.metrics) == {"wer/gl", "loss/gl", "alpha/gl", "objective"}


def test_a_tracker_that_is_lost_never_ends_the_search(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("mlflow", reason="pip install 'raywce[mlflow]'")
    callback = MLflow(f"sqlite:///{tmp_path}/no/such/folder\0/mlflow.db", "toy", "search")
    with caplog.at_level(logging.WARNING, "raywce"):
        callback.setup()
        told(callback, TuneTrial(str(tmp_path)))
    (record,) = [record for record in caplog.records if record.name == "raywce.search.trackers"]
    assert "refuses the figures; the search continues" in record.getMessage()


def problems(tmp_path: Path, *trackers: str) -> list[Problem]:
    search = surrogate.load_file(tmp_path, trackers=list(trackers)).experiment.search
    return environment.missing({"search": search}, {})


@pytest.mark.parametrize("uri", ["http://server:5000", "sqlite:////data/mlflow.db", "databricks"])
def test_a_tracking_uri_is_a_server_or_a_database(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert problems(tmp_path, "tensorboard", "mlflow") == []


@pytest.mark.parametrize("uri", ["mlruns", "/data/mlruns", "file:///data/mlruns", ""])
def test_a_folder_is_no_tracking_uri(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (problem,) = problems(tmp_path, "mlflow")
    assert str(problem).startswith("search.trackers: mlflow must have a server or a database in MLFLOW_TRACKING_URI")


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_must_be_there_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    (problem,) = problems(tmp_path, name)
    assert f"{name} must be installed" in str(problem)
    assert f"pip install 'raywce[{name}]'" in str(problem)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Weights & Biases without a network: what it would send is in files."""
    wandb = pytest.importorskip("wandb", reason="pip install 'raywce[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    return wandb


def parts(data: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format, behind a header of 7 bytes: in blocks of 32 KiB."""
    block, header = 32_768, 7
    place, record = header, b""
    while place + header <= len(data):
        if block - place % block < header:  # no header fits in: the block's rest is empty
            place += block - place % block
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        record += data[place + header : place + header + length]
        place += header + length
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


def records(folder: Path) -> dict[str, list[Any]]:
    """What was written of each run, by its id."""
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, list[Any]] = {}
    for file in folder.rglob("*.wandb"):
        own = [Record.FromString(part) for part in parts(file.read_bytes())]
        (run_id,) = {record.run.run_id for record in own if record.HasField("run")}
        found[run_id] = own
    return found


def test_wandb_has_a_run_a_trial(tmp_path: Path, offline: Any) -> None:
    from raywce.search.wandb_tracker import Wandb

    callback = Wandb("toy", "search", RunFolder.of(str(tmp_path), "run"))
    one = TuneTrial(str(tmp_path))
    failed = TuneTrial(str(tmp_path), {"run": {"trial_id": "baseline-0"}}, {"failure": "out of memory"})
    failed.name = "baseline-0"
    callback.log_trial_start(one)  # at the same time
    told(callback, failed)
    told(callback, one)
    written = records(tmp_path)
    key = (tmp_path / "run" / "wandb.txt").read_text()
    assert set(written) == {f"toy-{key}-search-0", f"toy-{key}-baseline-0"}
    run = next(record.run for record in written[f"toy-{key}-search-0"] if record.HasField("run"))
    assert (run.project, run.run_group, run.display_name) == ("toy", "search", "search-0")
    config = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in run.config.update}
    assert config["weighting.alpha"] == 2.5
    history = [record.history for record in written[f"toy-{key}-search-0"] if record.HasField("history")]
    curve = [
        (record.step.num, json.loads(item.value_json))
        for record in history
        for item in record.item
        if "wer/gl" in (item.key, "/".join(item.nested_key))
    ]
    assert curve == [(0, 0.6), (20, 0.4)]
    codes = {name: [one.exit.exit_code for one in of if one.HasField("exit")] for name, of in written.items()}
    assert codes == {f"toy-{key}-search-0": [0], f"toy-{key}-baseline-0": [1]}
    again = Wandb("toy", "search", RunFolder.of(str(tmp_path), "run"))
    told(again, one)
    assert set(records(tmp_path)) == set(written), "resumed, each run goes on"
    other = Wandb("toy", "search", RunFolder.of(str(tmp_path), "another"))
    told(other, one)
    assert len(records(tmp_path)) == 3


def test_a_lost_wandb_never_ends_the_search(
    tmp_path: Path, offline: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from raywce.search.wandb_tracker import Wandb

    def refuse(**_: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(offline, "init", refuse)
    with caplog.at_level(logging.WARNING, "raywce"):
        told(Wandb("toy", "search", RunFolder.of(str(tmp_path), "run")), TuneTrial(str(tmp_path)))
    (record,) = [record for record in caplog.records if record.name == "raywce.search.trackers"]
    assert record.getMessage() == ("Weights & Biases refuses the figures; the search continues: no route to host")
