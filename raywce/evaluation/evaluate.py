"""One evaluation: a checkpoint decodes prepared speech, in this process or as one of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import torch
import transformers
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from raywce.data.dev_split import Part, indices_in
from raywce.data.features import LogMel
from raywce.data.schema import SAMPLE_RATE
from raywce.data.store import Utterance, open_split
from raywce.evaluation.decode import (
    batch_by_duration,
    encoder_context,
    evaluate_utterances,
    evaluating,
    in_order,
)
from raywce.evaluation.hard_cases import decode_hard_cases
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.time_stamps import time_stamps
from raywce.evaluation.utterances import UtteranceResult, to_table
from raywce.language_tokens import with_tokens
from raywce.model import load_average, load_tokenizer
from raywce.precision import computing, resolved
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
        others: checkpoints whose weights are averaged with the model's.
        part: of the split that is decoded.
        dev_share: of dev, by which `part` is one.
        new_tokens: what the model gets where it lacks them, as `raywce.language_tokens.with_tokens` takes them.
        hard_cases: in place of the split's utterances, decode what `raywce.evaluation.hard_cases` makes of them.
    """

    model: str
    data: str
    split: str
    languages: tuple[str, ...]
    cache: Path
    settings: DecodeSettings
    revision: str | None = None
    others: tuple[str, ...] = ()
    part: Part = "all"
    dev_share: float = 0.5
    new_tokens: Mapping[str, str] = field(default_factory=dict)
    hard_cases: bool = False


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
    return utterance_table(evaluation, in_order([decode_share(evaluation, device, 0, 1, on_batch)]))


def utterance_table(done: Evaluation, rows: list[UtteranceResult]) -> pa.Table:
    """Return the table of what an evaluation decoded, by all of its workers."""
    return to_table(rows, model=done.model, data=done.data, split=done.split)


def decode_share(
    evaluation: Evaluation, device: torch.device, rank: int, workers: int, on_batch: Callable[[int], None]
) -> list[UtteranceResult]:
    """Decode one worker's share, and return its rows.

    Args:
        evaluation: what to do.
        device: of this worker.
        rank: of this worker.
        workers: how many share the evaluation.
        on_batch: called with the number of utterances that this worker just decoded.

    Raises:
        InputError: data is missing.
    """
    transformers.utils.logging.disable_progress_bar()
    parts = [f"{evaluation.split}/{language}" for language in evaluation.languages]
    data = on_node(evaluation.data, evaluation.cache, parts)
    split = open_split(data, evaluation.split, evaluation.languages, evaluation.cache)
    chosen = [index for of in indices_in(split, evaluation.part, evaluation.dev_share) for index in of]
    model, *others = (
        str(on_node(one, evaluation.cache)) if is_uri(one) else one for one in (evaluation.model, *evaluation.others)
    )
    model = with_tokens(model, evaluation.revision, evaluation.new_tokens, evaluation.cache)
    log_mel = LogMel.from_checkpoint(model, evaluation.revision).to(device)
    split.check_window(log_mel.n_samples / SAMPLE_RATE, evaluation.split)
    context = encoder_context(log_mel, evaluation.settings)

    def features(positions: list[int], whole: bool = False) -> torch.Tensor:
        indices = [chosen[position] for position in positions]
        frames = None if whole else context.frames(max(float(split.durations[index]) for index in indices))
        return log_mel.of([split.audio(index) for index in indices], frames)

    whisper, tokenizer = (
        load_average([model, *others], evaluation.revision).to(device),
        load_tokenizer(model, evaluation.revision),
    )
    if evaluation.hard_cases:
        extractor = WhisperFeatureExtractor.from_pretrained(model, revision=evaluation.revision)
        of = (whisper, tokenizer, extractor, split, evaluation.settings)
        return decode_hard_cases(*of, rank, workers)
    said = [split[index] for index in chosen]
    rows = evaluate_utterances(
        whisper,
        tokenizer,
        said,
        features,
        evaluation.settings,
        rank=rank,
        world_size=workers,
        on_batch=on_batch,
    )
    if evaluation.settings.timestamps:
        rows = _with_time_stamps(rows, whisper, said, partial(features, whole=True), evaluation.settings)
    return rows


def _with_time_stamps(
    rows: list[UtteranceResult],
    model: WhisperForConditionalGeneration,
    said: Sequence[Utterance],
    features: Callable[[list[int]], torch.Tensor],
    settings: DecodeSettings,
) -> list[UtteranceResult]:
    """Return a worker's rows with what decoding with time stamps gives of them."""
    by_id = {(row.language, row.id): row for row in rows}
    own = [index for index, one in enumerate(said) if (one.language, one.id) in by_id]
    with evaluating(model), computing(resolved(settings.precision, model.device), model.device):
        for batch in batch_by_duration([said[index].duration for index in own], settings.batch_size):
            indices = [own[place] for place in batch]
            keys = [(said[index].language, said[index].id) for index in indices]
            tokens = [by_id[key].language_token for key in keys]
            for key, stamps in zip(keys, time_stamps(model, features(indices), tokens), strict=True):
                by_id[key] = replace(by_id[key], time_stamps_whole=stamps.whole, time_stamps_end=stamps.end)
    return list(by_id.values())
