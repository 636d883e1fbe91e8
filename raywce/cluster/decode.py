"""Decoding of prepared speech with checkpoints, sharded over the workers of a Ray cluster."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import ray.train.torch
import torch
from ray.train import RunConfig

from raywce.cluster.capacity import Node, check_resources
from raywce.cluster.connect import connect
from raywce.cluster.gpu import limit_memory
from raywce.cluster.trainer import TrainerFailed, fit, make_trainer, message_queue
from raywce.errors import RunFailed, fail
from raywce.evaluation.evaluate import Evaluation, decode_share, evaluate, utterance_table
from raywce.evaluation.utterances import UtteranceResult
from raywce.experiment.schema import Resources


def run_evaluation(
    evaluation: Evaluation, workers: int = 1, on_batch: Callable[[int], None] = lambda done: None
) -> pa.Table:
    """Return the table of utterances (`raywce.evaluation.utterances.SCHEMA`), the same for any number of workers.

    Args:
        evaluation: what to do.
        workers: 1 decodes in this process, without Ray; more need that many CPUs (and GPUs, where there are any).
        on_batch: called in this process with the number of utterances just decoded.

    Raises:
        InputError: the cluster has no room for the workers, or data is missing.
        RunFailed: a worker failed.
    """
    if workers > 1:
        tables: list[pa.Table] = []
        with connect() as cluster:
            resources = resources_of(workers, cluster.nodes)
            run_evaluations([evaluation], resources, on_batch, lambda index, table: tables.append(table))
        return tables[0]
    return evaluate(evaluation, on_batch)


def resources_of(workers: int, nodes: Sequence[Node]) -> Resources:
    """Return what so many workers take where no experiment says it: a CPU each, and a GPU where there are any.

    Raises:
        InputError: they don't fit on the nodes.
    """
    has_gpu = any(node.get("GPU", 0) > 0 for node in nodes)
    resources = Resources(workers=workers, gpus_per_worker=1 if has_gpu else 0)
    problems = check_resources(resources, nodes).found
    if problems:
        fail("--workers", "must fit into the cluster", problems[0].got, "Lower it.")
    return resources


def run_evaluations(
    evaluations: Sequence[Evaluation],
    resources: Resources,
    on_batch: Callable[[int], None],
    on_table: Callable[[int, pa.Table], None],
) -> None:
    """Do several evaluations on a Ray cluster, one after the other, by workers that are started once.

    Args:
        evaluations: what to do.
        resources: of the workers, which the cluster is expected to hold.
        on_batch: called in this process with the number of utterances just decoded.
        on_table: called in this process with the number and the table of an evaluation, once it is complete.

    Raises:
        InputError: the cluster can't be joined.
        RunFailed: a worker failed.
    """

    def receive(message: int | tuple[int, list[UtteranceResult]]) -> None:
        if isinstance(message, int):
            on_batch(message)
        else:
            index, rows = message
            on_table(index, utterance_table(evaluations[index], rows))

    with connect(), tempfile.TemporaryDirectory() as folder:
        logging.getLogger("ray.train").setLevel(logging.WARNING)
        queue = message_queue()
        config = {"evaluations": list(evaluations), "queue": queue}
        config |= {"threads": resources.threads_per_worker, "gpus": resources.gpus_per_worker}
        run_config = RunConfig(name="evaluate", storage_path=folder)  # nothing is stored: the queue has the rows
        try:
            fit(make_trainer(_worker, config, resources, run_config), queue, receive)
        except TrainerFailed as error:
            raise RunFailed(f"a worker failed: {error}") from error


def _worker(config: Mapping[str, Any]) -> None:
    """Ray Train's entry point: progress of each rank and the rows from rank 0 go into the queue."""
    torch.set_num_threads(config["threads"])
    limit_memory(config["gpus"])
    context, queue = ray.train.get_context(), config["queue"]
    rank, workers = context.get_world_rank(), context.get_world_size()
    for index, evaluation in enumerate(config["evaluations"]):
        rows = decode_share(evaluation, ray.train.torch.get_device(), rank, workers, queue.put)
        if rank == 0:
            queue.put((index, rows))
