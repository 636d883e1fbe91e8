"""Evaluates a trial's model on dev: each rank decodes its share, rank 0 keeps the utterances' counts."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from raywce.data.context import EncoderContext, FromBatch
from raywce.data.features import LogMel
from raywce.data.parts import Part, in_part
from raywce.data.store import Utterances
from raywce.evaluation.decode import encoder_context, evaluate_utterances, gather_rows
from raywce.evaluation.rates import LanguageRates, macro_mean, rates_by_language
from raywce.evaluation.utterances import to_table
from raywce.experiment.schema import Experiment
from raywce.run_folder import write_parquet

KEPT_FEATURES = 1 << 30  # bytes of features that a worker keeps from one evaluation to the next


class DevSet:
    """The dev split, or the part of it that the phase may see, ready to be decoded again and again."""

    def __init__(
        self, dev: Utterances, experiment: Experiment, tokenizer: Any, log_mel: LogMel, rank: int, workers: int
    ) -> None:
        self.dev, self.experiment = dev, experiment
        self.evaluation, self.decoding = experiment.evaluation, experiment.decode_settings
        by_language = _indices(dev, experiment)
        self.whole = _Part(dev, list(chain(*by_language)))
        share = self.evaluation.share_on_the_way
        self.on_the_way = _Part(dev, list(chain(*(spread(dev, own, share) for own in by_language))))
        self.tokenizer, self.log_mel = tokenizer, log_mel
        self.rank, self.workers = rank, workers
        self._kept: dict[tuple[int, ...], Tensor] = {}

    def evaluate(self, model: Any, step: int, folder: str, whole: bool = True) -> dict[str, Any]:
        """Figures of all ranks together, the same on each; rank 0 writes `utterances-<step>.parquet` to `folder`.

        Args:
            model: the bare Whisper.
            step: after which it is decoded.
            folder: path or URI.
            whole: as at the end; on the way it may be a part of dev, and another encoder context.
        """
        settings = self.evaluation
        length = settings.encoder_context
        if not whole:
            length = settings.encoder_context_on_the_way or length
        table = self._decode(model, self.whole if whole else self.on_the_way, length)
        path = f"{folder}/utterances-{step:08d}.parquet"
        if self.rank == 0:
            write_parquet(path, table)
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # the report that names the table must not come before it
        rates = rates_by_language(table)
        figures = self._figures(rates) | {"utterances": path, "on_the_way": not whole and self.differs_on_the_way}
        if whole and settings.both_contexts:
            other: FromBatch = "batch" if length == "full" else "full"
            decoded = {length: rates, other: rates_by_language(self._decode(model, self.whole, other))}
            for name, own in decoded.items():
                figures |= {f"wer_{name}_context/{key}": getattr(one, settings.metric) for key, one in own.items()}
        return figures

    def decode_share(self, model: Any, share: float, length: FromBatch) -> int:
        """Decode a share of dev, all ranks together, and keep nothing of it; gives how many utterances they were."""
        languages = _indices(self.dev, self.experiment)
        part = _Part(self.dev, list(chain(*(spread(self.dev, own, share) for own in languages))))
        return len(self._decode(model, part, length))

    @property
    def differs_on_the_way(self) -> bool:
        """Whether the figures of an evaluation on the way can't be held against those of the last one."""
        settings = self.evaluation
        other = settings.encoder_context_on_the_way not in (None, settings.encoder_context)
        return other or settings.share_on_the_way < 1.0

    def _decode(self, model: Any, part: _Part, length: FromBatch) -> pa.Table:
        settings = replace(self.decoding, encoder_context=length)
        context = encoder_context(self.log_mel, settings)
        rows = evaluate_utterances(
            model,
            self.tokenizer,
            part.utterances,
            lambda positions: self._features([part.indices[position] for position in positions], context),
            settings,
            rank=self.rank,
            world_size=self.workers,
        )
        return to_table(gather_rows(rows))

    def _features(self, indices: list[int], context: EncoderContext) -> Tensor:
        """Of a batch; kept for the next evaluation, as long as there is room."""
        frames = context.frames(max(float(self.dev.durations[index]) for index in indices))
        key = (frames, *indices)
        if key in self._kept:
            return self._kept[key]
        features = self.log_mel.of([self.dev.audio(index) for index in indices], frames).cpu()
        if sum(one.nbytes for one in self._kept.values()) + features.nbytes <= KEPT_FEATURES:
            self._kept[key] = features
        return features

    def _figures(self, rates: dict[str, LanguageRates]) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        metric = self.evaluation.metric
        for language, rate in rates.items():
            figures[f"wer/{language}"] = getattr(rate, metric)
            figures[f"cer/{language}"] = getattr(rate, metric.replace("wer", "cer"))
            for name in ("wer_raw", "wer_normalized", "cer_raw", "cer_normalized", "insertion_rate"):
                figures[f"{name}/{language}"] = getattr(rate, name)
            if rate.language_identification_accuracy is not None:
                figures[f"language_identification/{language}"] = rate.language_identification_accuracy
        figures["objective"] = macro_mean(rates, self.experiment.languages.low_resource, metric)
        return figures


class _Part:
    """Utterances to decode, read once."""

    def __init__(self, dev: Utterances, indices: list[int]) -> None:
        self.indices = indices
        self.utterances = [dev[index] for index in indices]


def count(dev: Utterances, experiment: Experiment, part: Part) -> int:
    """How many utterances a part of dev has."""
    evaluation = experiment.evaluation.model_copy(update={"part": part})
    return sum(map(len, _indices(dev, experiment.model_copy(update={"evaluation": evaluation}))))


def _indices(dev: Utterances, experiment: Experiment) -> list[list[int]]:
    """Of the utterances that are decoded, by language."""
    part, share = experiment.evaluation.part, experiment.search.confirm.dev_share
    chosen: list[list[int]] = []
    for indices in dev.ranges.values():
        utterances = [dev[index] for index in indices]
        ids, speakers = [one.id for one in utterances], [one.speaker for one in utterances]
        chosen.append([indices[position] for position in in_part(part, share, ids, speakers)])
    return chosen


def spread(dev: Utterances, indices: list[int], share: float) -> list[int]:
    """A share of some utterances, rounded up, short and long ones alike; always the same ones."""
    by_duration = sorted(indices, key=lambda index: (float(dev.durations[index]), dev.id(index)))
    count = math.ceil(share * len(indices))
    return sorted(by_duration[int((place + 0.5) * len(indices) / count)] for place in range(count))
