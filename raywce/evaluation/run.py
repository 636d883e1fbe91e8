"""Evaluates a checkpoint on prepared speech: in this process, or sharded over the workers of a Ray cluster."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import transformers

from raywce.data.context import DECODING_MARGIN, EncoderContext, FromBatch
from raywce.data.features import LogMel
from raywce.data.store import open_split
from raywce.errors import RunFailed, fail
from raywce.evaluation.decode import evaluate_utterances, gather_rows
from raywce.evaluation.normalizer import DEFAULT_NORMALIZER
from raywce.evaluation.utterances import UtteranceResult, to_table
from raywce.model import AUTOCAST_DTYPES, load_model, load_tokenizer
from raywce.remote import is_uri, on_node


@dataclass(frozen=True)
class Evaluation:
    """What to decode and how; paths must hold on every node.

    Attributes:
        model: a transformers folder, as a path or URI, or a Hub id.
        revision: of a Hub id.
        data: path or URI of a folder that `raywce prepare` wrote.
        language_tokens: Whisper's code for a language that takes another's token.
        precision: a key of `AUTOCAST_DTYPES`.
        cache: where a node keeps its Arrow copy of the data.
        identify_language: also find which language token the model holds for the likeliest.
        encoder_context: full, or batch: as much as a batch's longest utterance takes.
    """

    model: str
    data: str
    split: str
    languages: tuple[str, ...]
    cache: Path
    language_tokens: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = 8
    precision: str = "fp32"
    normalizer: str = DEFAULT_NORMALIZER
    identify_language: bool = True
    revision: str | None = None
    encoder_context: FromBatch = "full"


def run_evaluation(
    evaluation: Evaluation, workers: int = 1, on_batch: Callable[[int], None] = lambda done: None
) -> pa.Table:
    """The table of utterances (`raywce.evaluation.utterances.SCHEMA`), the same for any number of workers.

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
        run_evaluations([evaluation], workers, on_batch, lambda index, table: tables.append(table))
        return tables[0]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return _table(evaluation, gather_rows(_decode_share(evaluation, device, 0, 1, on_batch)))


def run_evaluations(
    evaluations: Sequence[Evaluation],
    workers: int,
    on_batch: Callable[[int], None],
    on_table: Callable[[int, pa.Table], None],
) -> None:
    """Several on a Ray cluster, one after the other, by workers that are started once.

    Args:
        evaluations: what to do.
        workers: of one CPU each, or one GPU where there are any.
        on_batch: called in this process with the number of utterances just decoded.
        on_table: called in this process with the number and the table of an evaluation, once it is complete.

    Raises:
        InputError: the cluster has no room for the workers, or data is missing.
        RunFailed: a worker failed.
    """

    def on_rows(index: int, rows: list[UtteranceResult]) -> None:
        on_table(index, _table(evaluations[index], rows))

    _decode_on_cluster(evaluations, workers, on_batch, on_rows)


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
    context = EncoderContext.of(log_mel, evaluation.encoder_context, margin=DECODING_MARGIN)

    def features(indices: list[int]) -> torch.Tensor:
        frames = context.frames(max(float(utterances.durations[index]) for index in indices))
        return log_mel.of([utterances.audio(index) for index in indices], frames)

    return evaluate_utterances(
        load_model(model, evaluation.revision).to(device),
        load_tokenizer(model, evaluation.revision),
        utterances,
        features,
        evaluation.language_tokens,
        batch_size=evaluation.batch_size,
        normalizer=evaluation.normalizer,
        identify_language=evaluation.identify_language,
        autocast_dtype=AUTOCAST_DTYPES[evaluation.precision],
        rank=rank,
        world_size=workers,
        on_batch=on_batch,
    )


def _worker(config: Mapping[str, Any]) -> None:
    """Ray Train's entry point: progress of each rank and the rows from rank 0 go into the queue."""
    import ray.train.torch

    context, queue = ray.train.get_context(), config["queue"]
    rank, workers = context.get_world_rank(), context.get_world_size()
    for index, evaluation in enumerate(config["evaluations"]):
        rows = gather_rows(_decode_share(evaluation, ray.train.torch.get_device(), rank, workers, queue.put))
        if rank == 0:
            queue.put((index, rows))


def _decode_on_cluster(
    evaluations: Sequence[Evaluation],
    workers: int,
    on_batch: Callable[[int], None],
    on_rows: Callable[[int, list[UtteranceResult]], None],
) -> None:
    from raywce.cluster import connect
    from raywce.listening import TrainerFailed, fit, message_queue

    def hear(message: int | tuple[int, list[UtteranceResult]]) -> None:
        if isinstance(message, int):
            on_batch(message)
        else:
            on_rows(*message)

    with connect() as cluster, tempfile.TemporaryDirectory() as folder:
        use_gpu = cluster.resources.get("GPU", 0) > 0
        unit = "GPU" if use_gpu else "CPU"
        if cluster.resources.get(unit, 0) < workers:
            room = f"{cluster.resources.get(unit, 0):g} {unit}s"
            fail("--workers", "must fit into the cluster", f"{workers} workers for {room}", "Lower it.")
        queue = message_queue()
        try:
            fit(_trainer(evaluations, workers, use_gpu, queue, folder), queue, hear)
        except TrainerFailed as error:
            raise RunFailed(f"a worker failed: {error}") from error


def _trainer(evaluations: Sequence[Evaluation], workers: int, use_gpu: bool, queue: Any, folder: str) -> Any:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from raywce.listening import look_often

    logging.getLogger("ray.train").setLevel(logging.WARNING)
    look_often()
    return TorchTrainer(
        _worker,
        train_loop_config={"evaluations": list(evaluations), "queue": queue},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        run_config=RunConfig(name="evaluate", storage_path=folder),  # nothing is stored: the queue has the rows
    )
