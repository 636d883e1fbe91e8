"""Evaluations on a cluster: what Ray Train is asked for, and that many workers decode what one does."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from raywce.cluster.connect import Cluster
from raywce.cluster.decode import resources_of, run_evaluation, run_evaluations
from raywce.errors import InputError
from raywce.evaluation.evaluate import Evaluation
from raywce.evaluation.settings import DecodeSettings
from raywce.experiment.schema import Resources
from tests.evaluation.talking_whisper import write_talking_whisper
from tests.tiny_corpus import write_tiny_corpus


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the trainer is made of; nothing is run."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr("raywce.cluster.decode.fit", lambda trainer, queue, on_message: asked.update(vars(trainer)))
    monkeypatch.setattr("raywce.cluster.decode.message_queue", lambda: None)
    monkeypatch.setattr("raywce.cluster.decode.connect", nullcontext)
    return asked


@pytest.mark.parametrize(
    ("resources", "of_worker", "backend", "threads"),
    [
        (Resources(workers=2, cpus_per_worker=3), {"CPU": 3}, "gloo", 3),  # also where the cluster has GPUs
        (Resources(workers=4, cpus_per_worker=0.5), {"CPU": 0.5}, "gloo", 1),
        (Resources(workers=2, gpus_per_worker=1), {"CPU": 1, "GPU": 1}, "nccl", 1),
        (Resources(gpus_per_worker=0.5), {"CPU": 1, "GPU": 0.5}, "gloo", 1),  # it is alone
    ],
)
def test_workers_take_what_the_experiment_gives_them(
    asked_for: dict[str, Any], resources: Resources, of_worker: dict[str, float], backend: str, threads: int
) -> None:
    run_evaluations([], resources, lambda done: None, lambda index, table: None)
    scaling = asked_for["scaling_config"]
    assert (scaling.num_workers, scaling.resources_per_worker) == (resources.workers, of_worker)
    assert scaling.use_gpu is ("GPU" in of_worker)
    assert asked_for["backend_config"].backend == backend
    assert asked_for["train_loop_config"]["threads"] == threads


def test_without_an_experiment_a_worker_takes_a_gpu_where_there_are_any() -> None:
    assert resources_of(2, [{"CPU": 4.0}]) == Resources(workers=2)
    assert resources_of(2, [{"CPU": 8.0, "GPU": 2.0}]) == Resources(workers=2, gpus_per_worker=1)
    with pytest.raises(InputError, match=r"--workers: must fit into the cluster, but got 4096 x .* for 2 CPUs"):
        resources_of(4096, [{"CPU": 2.0}])


@pytest.mark.slow
def test_two_workers_of_half_a_cpu_decode_on_a_cluster_with_a_gpu_what_one_process_does(
    cluster: Cluster, tmp_path: Path
) -> None:
    evaluation = Evaluation(
        model=str(write_talking_whisper(tmp_path / "model")),
        data=str(write_tiny_corpus(tmp_path / "data", {"gl": 1, "es": 1}, {"gl": 3, "es": 2})),
        split="dev",
        languages=("gl", "es"),
        cache=tmp_path / "cache",
        settings=DecodeSettings(batch_size=2, identify_language=True),
    )
    done: list[int] = []
    tables: list[pa.Table] = []
    resources = Resources(workers=2, cpus_per_worker=0.5)
    run_evaluations([evaluation, evaluation], resources, done.append, lambda index, table: tables.append(table))
    assert sum(done) == 2 * 5
    for table in tables:
        assert table.equals(run_evaluation(evaluation), check_metadata=True)
    assert len(tables) == 2
