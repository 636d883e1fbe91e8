"""Evaluates a checkpoint on prepared speech: in this process, or sharded over the workers of a Ray cluster."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch
import transformers

from raywce.data.features import LogMel
from raywce.data.store import open_split
from raywce.errors import RunFailed, fail
from raywce.evaluation.decode import encoder_context, evaluate_utterances, gather_rows
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.utterances import UtteranceResult, to_table
from raywce.experiment.schema import Resources
from raywce.model import load_model, load_tokenizer
from raywce.remote import is_uri, on_node

if TYPE_CHECKING:
    from raywce.room import Node


@dataclass(frozen=True)
class Evaluation:
    """What to decode and how; paths must hold on every node.

    Attributes:
        model: a transformers folder, as a path or URI, or a Hub id.
        data: path or URI of a folder that `raywce prepare` wrote.
        cache: where a node keeps its Arrow copy of the data.
        settings: how it is decoded.
        revision: of a Hub id.
    """

    model: str
    data: str
    split: str
    languages: tuple[str, ...]
    cache: Path
    settings: DecodeSettings
    revision: str | None = None


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
        from raywce.cluster import connect

        tables: list[pa.Table] = []
        with connect() as cluster:
            resources = resources_of(workers, cluster.nodes)
            run_evaluations([evaluation], resources, on_batch, lambda index, table: tables.append(table))
        return tables[0]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return _table(evaluation, gather_rows(_decode_share(evaluation, device, 0, 1, on_batch)))


def resources_of(workers: int, nodes: Sequence[Node]) -> Resources:
    """Return what so many workers take where no experiment says it: a CPU each, and a GPU where there are any.

    Raises:
        InputError: they don't fit on the nodes.
    """
    from raywce.room import check_resources

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
    """Do several on a Ray cluster, one after the other, by workers that are started once.

    Args:
        evaluations: what to do.
        resources: of the workers, which the cluster is expected to hold.
        on_batch: called in this process with the number of utterances just decoded.
        on_table: called in this process with the number and the table of an evaluation, once it is complete.

    Raises:
        InputError: the cluster can't be joined.
        RunFailed: a worker failed.
    """
    from raywce.cluster import connect
    from raywce.listening import TrainerFailed, fit, message_queue

    def receive(message: int | tuple[int, list[UtteranceResult]]) -> None:
        if isinstance(message, int):
            on_batch(message)
        else:
            index, rows = message
            on_table(index, _table(evaluations[index], rows))

    with connect(), tempfile.TemporaryDirectory() as folder:
        queue = message_queue()
        try:
            fit(_trainer(evaluations, resources, queue, folder), queue, receive)
        except TrainerFailed as error:
            raise RunFailed(f"a worker failed: {error}") from error


def _table(done: Evaluation, rows: list[UtteranceResult]) -> pa.Table:
    return to_table(rows, model=done.model, data=done.data, split=done.split)


def _decode_share(
    evaluation: Evaluation, device: torch.device, rank: int, workers: int, on_batch: Callable[[int], None]
) -> list[UtteranceResult]:
    transformers.utils.logging.disable_progress_bar()
    parts = [f"{evaluation.split}/{language}" for language in evaluation.languages]
    data = on_node(evaluation.data, evaluation.cache, parts)
    utterances = open_split(data, evaluation.split, evaluation.languages, evaluation.cache)
    model = str(on_node(evaluation.model, evaluation.cache)) if is_uri(evaluation.model) else evaluation.model
    log_mel = LogMel.from_checkpoint(model, evaluation.revision).to(device)
    context = encoder_context(log_mel, evaluation.settings)

    def features(indices: list[int]) -> torch.Tensor:
        frames = context.frames(max(float(utterances.durations[index]) for index in indices))
        return log_mel.of([utterances.audio(index) for index in indices], frames)

    return evaluate_utterances(
        load_model(model, evaluation.revision).to(device),
        load_tokenizer(model, evaluation.revision),
        utterances,
        features,
        evaluation.settings,
        rank=rank,
        world_size=workers,
        on_batch=on_batch,
    )


def _worker(config: Mapping[str, Any]) -> None:
    """Ray Train's entry point: progress of each rank and the rows from rank 0 go into the queue."""
    import ray.train.torch

    torch.set_num_threads(config["threads"])
    context, queue = ray.train.get_context(), config["queue"]
    rank, workers = context.get_world_rank(), context.get_world_size()
    for index, evaluation in enumerate(config["evaluations"]):
        rows = gather_rows(_decode_share(evaluation, ray.train.torch.get_device(), rank, workers, queue.put))
        if rank == 0:
            queue.put((index, rows))


def _trainer(evaluations: Sequence[Evaluation], resources: Resources, queue: Any, folder: str) -> Any:
    from ray.train import RunConfig
    from ray.train.torch import TorchTrainer

    from raywce.listening import look_often, worker_group

    logging.getLogger("ray.train").setLevel(logging.WARNING)
    look_often()
    return TorchTrainer(
        _worker,
        train_loop_config={"evaluations": list(evaluations), "queue": queue, "threads": resources.threads_per_worker},
        run_config=RunConfig(name="evaluate", storage_path=folder),  # nothing is stored: the queue has the rows
        **worker_group(resources),
    )
