"""Evaluations on a cluster: what its workers take, and that many of them decode what one process does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
import torch

from raywce.cluster.connect import Cluster
from raywce.cluster.decode import (
    Decoder,
    resources_of,
    run_evaluation,
    run_evaluations,
    worker_options,
    workers_for,
)
from raywce.errors import InputError, RunFailed
from raywce.evaluation.evaluate import Evaluation
from raywce.evaluation.settings import DecodeSettings
from raywce.experiment.schema import Resources
from tests.evaluation.talking_whisper import write_talking_whisper
from tests.tiny_corpus import write_tiny_corpus


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "threads"),
    [
        (Resources(workers=2, cpus_per_worker=3), 3, 0, 3),  # also where the cluster has GPUs
        (Resources(workers=4, cpus_per_worker=0.5), 0.5, 0, 1),
        (Resources(workers=2, gpus_per_worker=1), 1, 1, 1),
        (Resources(gpus_per_worker=0.5), 1, 0.5, 1),
    ],
)
def test_workers_take_what_the_experiment_gives_them(
    monkeypatch: pytest.MonkeyPatch, resources: Resources, cpus: float, gpus: float, threads: int
) -> None:
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    options = worker_options(resources)
    assert (options["num_cpus"], options["num_gpus"]) == (cpus, gpus)
    expected = {"env_vars": {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}} if gpus else None
    assert options["runtime_env"] == expected
    given: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    assert Decoder(resources, queue=None).device.type == ("cuda" if gpus else "cpu")
    assert given == [threads]


@pytest.mark.parametrize(
    ("shares", "workers", "at_once", "expected"), [(20, 2, None, 8), (3, 1, None, 3), (20, 2, 1, 2), (20, 1, 2, 2)]
)
def test_as_many_workers_start_as_the_cluster_holds(
    shares: int, workers: int, at_once: int | None, expected: int
) -> None:
    nodes = [{"CPU": 3.0}, {"CPU": 1.25}]
    assert workers_for(shares, Resources(workers=workers, cpus_per_worker=0.5), nodes, at_once) == expected


def test_where_none_fits_yet_one_waits() -> None:
    assert workers_for(4, Resources(gpus_per_worker=1), [{"CPU": 8.0}], None) == 1


def test_without_an_experiment_a_worker_takes_a_gpu_where_there_are_any() -> None:
    assert resources_of(2, [{"CPU": 4.0}]) == Resources(workers=2)
    assert resources_of(2, [{"CPU": 8.0, "GPU": 2.0}]) == Resources(workers=2, gpus_per_worker=1)
    with pytest.raises(InputError, match=r"--workers: must fit into the cluster, but got 4096 x .* for 2 CPUs"):
        resources_of(4096, [{"CPU": 2.0}])


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    return Evaluation(
        model=str(write_talking_whisper(tmp_path / "model")),
        data=str(write_tiny_corpus(tmp_path / "data", {"gl": 1, "es": 1}, {"gl": 3, "es": 2})),
        split="dev",
        languages=("gl", "es"),
        cache=tmp_path / "cache",
        settings=DecodeSettings(batch_size=2, identify_language=True),
    )


@pytest.mark.slow
def test_evaluations_share_the_cluster_and_give_what_one_process_does(cluster: Cluster, evaluation: Evaluation) -> None:
    done: list[int] = []
    tables: dict[int, pa.Table] = {}
    of_two = [evaluation, replace(evaluation, languages=("gl",))]
    run_evaluations(of_two, Resources(workers=2, cpus_per_worker=0.5), done.append, tables.__setitem__, at_once=1)
    assert sum(done) == 5 + 3
    for index, one in enumerate(of_two):
        assert tables[index].equals(run_evaluation(one), check_metadata=True)


@pytest.mark.slow
def test_what_a_lost_worker_was_at_is_done_by_another(cluster: Cluster, evaluation: Evaluation) -> None:
    killed: list[int] = []
    tables: dict[int, pa.Table] = {}

    def on_batch(count: int) -> None:
        if not killed:
            worker = _workers()[0]
            killed.append(worker.pid)
            worker.kill()

    run_evaluations([evaluation] * 3, Resources(cpus_per_worker=1), on_batch, tables.__setitem__)
    assert killed
    for index in range(3):
        assert tables[index].equals(run_evaluation(evaluation), check_metadata=True)


@pytest.mark.slow
def test_a_failure_ends_all_of_it_in_one_line(cluster: Cluster, evaluation: Evaluation) -> None:
    missing = replace(evaluation, data="/nowhere")
    with pytest.raises(RunFailed, match=r"^a worker failed: .*/nowhere[^\n]*$"):
        run_evaluations([evaluation, missing], Resources(cpus_per_worker=1), lambda _: None, lambda *_: None)
    psutil.wait_procs(_workers(), timeout=10)
    assert not _workers()


def _workers() -> list[psutil.Process]:
    """The processes of workers, of whichever cluster on this machine."""
    return [
        one for one in psutil.process_iter(["name", "cmdline"]) if "ray::Decoder" in " ".join(one.info["cmdline"] or [])
    ]
