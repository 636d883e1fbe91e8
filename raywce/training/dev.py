"""Evaluates a trial's model on dev: each rank decodes its share, rank 0 keeps the utterances' counts."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from raywce.data.context import EncoderContext
from raywce.data.dev_split import Part, in_part
from raywce.data.features import LogMel
from raywce.data.store import Utterances
from raywce.evaluation.decode import encoder_context, evaluate_utterances, gather_rows
from raywce.evaluation.rates import LanguageRates, macro_mean, rates_by_language
from raywce.evaluation.utterances import to_table
from raywce.experiment.schema import Experiment
from raywce.storage.files import write_table
from raywce.trial_report import RATES, Report

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
        share = self.evaluation.intermediate_share
        self.intermediate = _Part(dev, list(chain(*(spread(dev, own, share) for own in by_language))))
        self.tokenizer, self.log_mel = tokenizer, log_mel
        self.rank, self.workers = rank, workers
        self._kept: dict[tuple[int, ...], Tensor] = {}

    def evaluate(self, model: Any, report: Report, folder: str, whole: bool = True) -> Report:
        """Add the figures of all ranks together, the same on each; rank 0 writes `utterances-<step>.parquet`.

        Args:
            model: the bare Whisper.
            report: of the step after which it is decoded.
            folder: path or URI.
            whole: as at start and end; else the share of dev that intermediate evaluations decode.
        """
        table = self._decode(model, self.whole if whole else self.intermediate)
        path = f"{folder}/utterances-{report.step:08d}.parquet"
        if self.rank == 0:
            write_table(path, table)
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # the report that names the table must not come before it
        rates = rates_by_language(table)
        return replace(
            report,
            rates=self._rates(rates),
            objective=macro_mean(rates, self.experiment.languages.low_resource, self.evaluation.metric),
            intermediate=not whole and self.evaluation.intermediate_share < 1.0,
            utterances=path,
        )

    def decode_share(self, model: Any, share: float) -> int:
        """Decode a share of dev, all ranks together, and keep nothing of it; gives how many utterances they were."""
        languages = _indices(self.dev, self.experiment)
        part = _Part(self.dev, list(chain(*(spread(self.dev, own, share) for own in languages))))
        return len(self._decode(model, part))

    def _decode(self, model: Any, part: _Part) -> pa.Table:
        context = encoder_context(self.log_mel, self.decoding)
        rows = evaluate_utterances(
            model,
            self.tokenizer,
            part.utterances,
            lambda positions: self._features([part.indices[position] for position in positions], context),
            self.decoding,
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

    def _rates(self, rates: dict[str, LanguageRates]) -> dict[str, dict[str, float]]:
        """By name and language; `wer` and `cer` are those of the experiment's metric."""
        metric = self.evaluation.metric
        attributes = {"wer": metric, "cer": metric.replace("wer", "cer")}
        attributes |= {name: name for name in (*RATES, "insertion_rate") if name not in attributes}
        found = {name: {of: getattr(one, own) for of, one in rates.items()} for name, own in attributes.items()}
        identified = {of: one.language_identification_accuracy for of, one in rates.items()}
        known = {of: share for of, share in identified.items() if share is not None}
        return {**found, "language_identification": known} if known else found


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
