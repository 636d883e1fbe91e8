from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray.tune.logger import TBXLoggerCallback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from raywce.errors import InputError
from raywce.experiment import environment
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

    def init_local_path(self) -> None:
        """Tune makes the folder."""

    def __str__(self) -> str:
        return "search-0"


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
    (record,) = [record for record in caplog.records if record.name == "raywce.search.mlflow_tracker"]
    assert "refuses the figures; the search continues" in record.getMessage()


@pytest.mark.parametrize("uri", ["http://server:5000", "sqlite:////data/mlflow.db", "databricks"])
def test_a_tracking_uri_is_a_server_or_a_database(tmp_path: Path, uri: str) -> None:
    assert surrogate.load_file(tmp_path, f"search.mlflow={uri}").experiment.search.mlflow == uri


@pytest.mark.parametrize("uri", ["mlruns", "/data/mlruns", "file:///data/mlruns"])
def test_a_folder_is_no_tracking_uri(tmp_path: Path, uri: str) -> None:
    with pytest.raises(InputError, match=r"search\.mlflow: must"):
        surrogate.load_file(tmp_path, f"search.mlflow={uri}")


def test_mlflow_must_be_there_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = surrogate.load_file(tmp_path, "search.mlflow=http://server:5000").experiment.search
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    (problem,) = environment.missing({"search": search}, {})
    assert "mlflow must be installed" in str(problem)
    assert "pip install 'raywce[mlflow]'" in str(problem)
