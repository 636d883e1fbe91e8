"""Decoding of prepared speech with checkpoints, sharded over the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import ray
import torch
from ray.exceptions import RayError, RayTaskError
from ray.util.queue import Queue

from raywce.cluster.capacity import Node, check_resources, workers_at_once
from raywce.cluster.connect import connect
from raywce.cluster.gpu import allocator_settings, device_of, limit_memory
from raywce.cluster.trainer import PATIENCE_S, message_queue
from raywce.errors import RunFailed, fail, one_line
from raywce.evaluation.decode import in_order
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
    at_once: int | None = None,
) -> None:
    """Do several evaluations on a Ray cluster, each in as many shares as `resources` has workers.

    As many workers as the cluster holds take one share after the other, so that all of it works until the end. What a
    lost worker was at is given to another one.

    Args:
        evaluations: what to do.
        resources: of the workers, which the cluster is expected to hold.
        on_batch: called in this process with the number of utterances just decoded.
        on_table: called in this process with the number and the table of an evaluation, once it is complete.
        at_once: evaluations at the same time, at most.

    Raises:
        InputError: the cluster can't be joined.
        RunFailed: an evaluation failed, or all workers were lost.
    """
    shares = [(index, rank) for index in range(len(evaluations)) for rank in range(resources.workers)]
    rows: dict[int, list[list[UtteranceResult]]] = {}
    with connect() as cluster:
        count = workers_for(len(shares), resources, cluster.nodes, at_once)
        with _workers(count, resources) as (workers, queue):
            for (index, _), share in _done(shares, evaluations, resources.workers, workers, queue, on_batch):
                rows.setdefault(index, []).append(share)
                if len(rows[index]) == resources.workers:
                    on_table(index, utterance_table(evaluations[index], in_order(rows.pop(index))))


def workers_for(shares: int, resources: Resources, nodes: Sequence[Node], at_once: int | None) -> int:
    """Return how many workers to start: as many as fit, for so many shares, of so many evaluations at once."""
    fitting = max(1, workers_at_once(resources, nodes))
    return min(shares, fitting, resources.workers * (at_once or fitting))


_Share = tuple[int, int]  # the number of an evaluation, and a rank


def _done(
    shares: Sequence[_Share],
    evaluations: Sequence[Evaluation],
    ranks: int,
    workers: Sequence[Any],
    queue: Queue,
    on_batch: Callable[[int], None],
) -> Iterator[tuple[_Share, list[UtteranceResult]]]:
    """Yield the rows of each share as it is complete."""
    left = list(reversed(shares))
    busy: dict[Any, tuple[Any, _Share | None]] = {worker.__ray_ready__.remote(): (worker, None) for worker in workers}
    idle: list[Any] = []
    complete = 0
    while complete < len(shares):
        ready, _ = ray.wait(list(busy), timeout=PATIENCE_S)
        for decoded in queue.get_nowait_batch(queue.qsize()):
            on_batch(decoded)
        for reference in ready:
            worker, share = busy.pop(reference)
            try:
                found = ray.get(reference)
            except RayTaskError as error:
                raise RunFailed(f"a worker failed: {one_line(error.cause)}") from error
            except RayError as error:  # its process or its node is gone
                left += [share] if share else []
                if not busy and not idle:
                    raise RunFailed(f"all workers were lost: {one_line(error)}") from error
                continue
            idle.append(worker)
            if share:
                complete += 1
                yield share, found
        while idle and left:
            worker, (index, rank) = idle.pop(), left.pop()
            busy[worker.decode.remote(evaluations[index], rank, ranks)] = worker, (index, rank)


@contextmanager
def _workers(count: int, resources: Resources) -> Iterator[tuple[list[Any], Queue]]:
    """Give actors and the queue into which they put how many utterances they just decoded; end them all."""
    queue = message_queue()
    workers = [ray.remote(Decoder).options(**worker_options(resources)).remote(resources, queue) for _ in range(count)]
    try:
        yield workers, queue
    finally:
        for worker in workers:
            ray.kill(worker)
        queue.shutdown(force=True)


def worker_options(resources: Resources) -> dict[str, Any]:
    """Return what Ray gives to a worker."""
    environment = allocator_settings() if resources.gpus_per_worker else {}
    return {
        "num_cpus": resources.cpus_per_worker,
        "num_gpus": resources.gpus_per_worker,
        "runtime_env": {"env_vars": environment} if environment else None,
    }


class Decoder:
    """A worker's process, which decodes one share after the other."""

    def __init__(self, resources: Resources, queue: Queue) -> None:
        torch.set_num_threads(resources.threads_per_worker)
        limit_memory(resources.gpus_per_worker)
        self.device, self.queue = device_of(resources.gpus_per_worker), queue

    def decode(self, evaluation: Evaluation, rank: int, ranks: int) -> list[UtteranceResult]:
        """Return a share's rows, and put into the queue how many they are, batch by batch."""
        return decode_share(evaluation, self.device, rank, ranks, self.queue.put)
