"""One evaluation: a checkpoint decodes prepared speech, in this process or as one of several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import torch
import transformers

from raywce.data.features import LogMel
from raywce.data.store import open_split
from raywce.evaluation.decode import encoder_context, evaluate_utterances, gather_rows
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.utterances import UtteranceResult, to_table
from raywce.model import load_model, load_tokenizer
from raywce.storage.files import is_uri
from raywce.storage.node_copy import on_node


@dataclass(frozen=True)
class Evaluation:
    """Settings of one evaluation; paths must hold on every node.

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


def evaluate(evaluation: Evaluation, on_batch: Callable[[int], None] = lambda done: None) -> pa.Table:
    """Decode in this process, on its GPU where it has one.

    Args:
        evaluation: what to do.
        on_batch: called with the number of utterances just decoded.

    Returns:
        The table of utterances (`raywce.evaluation.utterances.SCHEMA`).

    Raises:
        InputError: data is missing.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return utterance_table(evaluation, decode_share(evaluation, device, 0, 1, on_batch))


def utterance_table(done: Evaluation, rows: list[UtteranceResult]) -> pa.Table:
    """Return the table of what an evaluation decoded, by all of its workers."""
    return to_table(rows, model=done.model, data=done.data, split=done.split)


def decode_share(
    evaluation: Evaluation, device: torch.device, rank: int, workers: int, on_batch: Callable[[int], None]
) -> list[UtteranceResult]:
    """Decode one worker's share, and return what all of them decoded.

    Args:
        evaluation: what to do.
        device: of this worker.
        rank: of this worker.
        workers: how many there are; more than one form a process group.
        on_batch: called with the number of utterances that this worker just decoded.

    Raises:
        InputError: data is missing.
    """
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

    rows = evaluate_utterances(
        load_model(model, evaluation.revision).to(device),
        load_tokenizer(model, evaluation.revision),
        utterances,
        features,
        evaluation.settings,
        rank=rank,
        world_size=workers,
        on_batch=on_batch,
    )
    return gather_rows(rows)
