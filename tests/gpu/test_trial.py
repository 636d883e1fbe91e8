"""Trials on a GPU: one rank of NCCL by Ray Train, and two, each its own only worker, that share the card."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from raywce.cluster.connect import Cluster
from raywce.experiment.schema import Experiment
from raywce.training.session import Session
from raywce.training.trial import run_alone, run_trial
from raywce.trial_report import Report

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


def experiment(inputs: Path, gpus: float, **training: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "gpu",
            "model": {"checkpoint": str(inputs / "model")},
            "data": {"folder": str(inputs), "cache": str(inputs / "cache"), "sampling": {"both_kinds": True}},
            "languages": {"low_resource": ["gl"], "high_resource": ["es", "en"]},
            "weighting": {"kind": "dynamic", "alpha": 1.5},
            "augmentation": {"preset": "paper"},
            "training": {"steps": 4, "batch_size": 8, "accumulation_steps": 2, "checkpoint_every": 2, **training},
            "resources": {"workers": 1, "gpus_per_worker": gpus},
        }
    )


def _looking(config: Mapping[str, Any], session: Session) -> None:
    """Train, then report what the worker ran on."""
    import torch
    from torch import distributed

    from raywce.training.loop import train
    from raywce.training.setup import Worker, work

    def look(worker: Worker) -> None:
        train(worker)
        found: dict[str, Any] = {"device": worker.device.type}
        if distributed.is_initialized():
            distributed.all_reduce(torch.ones(3, dtype=torch.float64, device=worker.device))
            gathered: list[Any] = [None]
            distributed.all_gather_object(gathered, {"rank": worker.rank})
            found |= {"backend": distributed.get_backend(), "gathered": gathered}
        if worker.device.type == "cuda":
            found["share"] = torch.cuda.get_per_process_memory_fraction()
            found["grows"] = all(segment["is_expandable"] for segment in torch.cuda.memory_snapshot())
        worker.report(Report(worker.training.steps, profile=found))

    work(config, session, look)


def trained(inputs: Path, storage: Path, name: str, gpus: float, **training: Any) -> tuple[Report, Report]:
    """Return the last report of the training and the one of what it ran on."""
    reports: list[Report] = []
    run_trial(experiment(inputs, gpus, **training), str(storage), name, reports.append, worker=_looking)
    *_, last, about = reports
    return last, about


def test_a_training_with_one_rank_of_nccl(device: torch.device, cluster: Cluster, inputs: Path, tmp_path: Path) -> None:
    on_gpu = device.type == "cuda"
    last, about = trained(inputs, tmp_path, "whole", 1.0 if on_gpu else 0.0, precision="auto")
    assert last.step == 4
    assert math.isfinite(last.wer["gl"])
    assert last.precision in ("bf16", "fp32")
    assert about.profile
    found = dict(about.profile)
    assert (found["backend"], found["device"]) == (("nccl", "cuda") if on_gpu else ("gloo", "cpu"))
    assert found["gathered"] == [{"rank": 0}]
    assert found.get("grows", True)


def _alone(inputs: Path, storage: Path, name: str, gpus: float) -> tuple[Report, Report]:
    reports: list[Report] = []
    run_alone(experiment(inputs, gpus), str(storage), name, reports.append, worker=_looking)
    *_, last, about = reports
    return last, about


def test_two_trials_share_a_gpu(device: torch.device, cluster: Cluster, inputs: Path, tmp_path: Path) -> None:
    share = 0.5 if device.type == "cuda" else 0.0
    in_process = ray.remote(num_cpus=1, num_gpus=share)(_alone)
    both = [in_process.remote(inputs, tmp_path, name, share) for name in ("one", "other")]
    (one, about), (other, _) = ray.get(both)
    assert one.loss == pytest.approx(other.loss, rel=1e-3)
    assert one.wer.keys() == other.wer.keys() == {"gl", "es", "en"}
    assert about.profile
    assert about.profile["device"] == device.type
    assert about.profile.get("share", 0.5) == 0.5
    assert about.profile.get("grows", True)
