"""What Ray Train is asked for, without a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from raywce.experiment.schema import Experiment
from raywce.training import trial


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    asked: dict[str, Any] = {}

    def fit(trainer: Any, queue: Any, on_message: Any) -> None:
        asked.update(vars(trainer))

    monkeypatch.setattr(trial, "fit", fit)
    monkeypatch.setattr(trial, "message_queue", lambda: None)
    return asked


def experiment(resources: dict[str, Any], max_failures: int = 3) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "a",
            "model": {"checkpoint": "m"},
            "data": {"folder": "d"},
            "languages": {"low_resource": ["gl"]},
            "training": {"steps": 1, "max_failures": max_failures},
            "resources": resources,
        }
    )


def test_workers_on_cpus_talk_through_gloo(asked_for: dict[str, Any]) -> None:
    trial.run_trial(experiment({"workers": 2, "cpus_per_worker": 3}), "/runs/a", "t1")
    scaling = asked_for["scaling_config"]
    assert (scaling.num_workers, scaling.use_gpu, scaling.resources_per_worker) == (2, False, {"CPU": 3})
    assert asked_for["backend_config"].backend == "gloo"


def test_workers_on_gpus_talk_through_nccl(asked_for: dict[str, Any]) -> None:
    trial.run_trial(experiment({"workers": 4, "cpus_per_worker": 2, "gpus_per_worker": 1}), "/runs/a", "t1")
    scaling = asked_for["scaling_config"]
    assert (scaling.num_workers, scaling.use_gpu, scaling.resources_per_worker) == (4, True, {"CPU": 2, "GPU": 1})
    assert asked_for["backend_config"].backend == "nccl"


def test_a_trial_has_a_folder_of_its_own_and_bounded_retries(asked_for: dict[str, Any]) -> None:
    trial.run_trial(experiment({}, max_failures=5), "/runs/a", "t1")
    run = asked_for["run_config"]
    assert (run.name, run.storage_path, run.failure_config.max_failures) == ("t1", "/runs/a", 5)
    assert (run.checkpoint_config.num_to_keep, run.checkpoint_config.checkpoint_score_order) == (1, "min")
    assert asked_for["train_loop_config"]["folder"] == "/runs/a/t1"
