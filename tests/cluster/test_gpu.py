from __future__ import annotations

from dataclasses import asdict

import pytest
from ray.train import RunConfig

from raywce.cluster.gpu import allocator_settings, limit_memory
from raywce.cluster.trainer import make_trainer
from raywce.experiment.schema import Resources

GROWING = {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)


def environment_of(resources: Resources) -> dict[str, str]:
    trainer = make_trainer(print, {}, resources, RunConfig(name="a", storage_path="/a"))
    assert asdict(trainer.run_config)["name"] == "a"
    return dict(trainer.run_config.worker_runtime_env.get("env_vars", {}))


def test_workers_on_a_gpu_have_growing_segments_from_the_start() -> None:
    assert environment_of(Resources(gpus_per_worker=1)) == GROWING
    assert environment_of(Resources(gpus_per_worker=0.5)) == GROWING
    assert environment_of(Resources()) == {}


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_what_the_user_has_set_reaches_the_workers(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "max_split_size_mb:128")
    assert allocator_settings() == {name: "max_split_size_mb:128"}
    assert environment_of(Resources(gpus_per_worker=1)) == {name: "max_split_size_mb:128"}


@pytest.mark.parametrize(("gpus", "expected"), [(0.0, []), (0.25, [0.25]), (1.0, []), (2.0, [])])
def test_a_share_of_a_gpu_is_one_of_its_memory(
    monkeypatch: pytest.MonkeyPatch, gpus: float, expected: list[float]
) -> None:
    limits: list[float] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", limits.append)
    limit_memory(gpus)
    assert limits == expected
