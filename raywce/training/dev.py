"""Evaluation of a trial's model on dev: each rank decodes its share, rank 0 keeps the utterances' counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import torch
from torch import Tensor

from raywce.data.context import EncoderContext
from raywce.data.dev_split import Part, indices_in
from raywce.data.features import LogMel
from raywce.data.store import Utterances
from raywce.evaluation.decode import encoder_context, evaluate_utterances, gather_rows
from raywce.evaluation.rates import LanguageRates, rates_by_language
from raywce.evaluation.utterances import to_table
from raywce.experiment.schema import Experiment
from raywce.storage.files import write_table
from raywce.trial_report import RATES, Report

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, WhisperForConditionalGeneration

KEPT_FEATURES = 1 << 30  # bytes of features that a worker keeps from one evaluation to the next


class DevSet:
    """The dev split, or the part of it that the phase may see, ready to be decoded again and again."""

    def __init__(
        self,
        dev: Utterances,
        experiment: Experiment,
        tokenizer: PreTrainedTokenizerBase,
        log_mel: LogMel,
        rank: int,
        workers: int,
        states: Callable[[list[int], int], Tensor] | None = None,
    ) -> None:
        """Set what is decoded, and how; `states` gives encoder states at a number of frames, where they are kept."""
        self.dev, self.experiment = dev, experiment
        self.evaluation, self.decoding = experiment.evaluation, experiment.decode_settings
        self.by_language = indices_in(dev, self.evaluation.part, experiment.search.confirm.dev_share)
        self.whole, self.intermediate = (
            self._spread(lambda utterances: utterances),
            self._spread(self.evaluation.intermediate_count),
        )
        self.tokenizer, self.log_mel = tokenizer, log_mel
        self.rank, self.workers, self._states = rank, workers, states
        self._kept: dict[tuple[int, ...], Tensor] = {}

    @property
    def keeps_states(self) -> bool:
        """Whether encoder states are kept."""
        return self._states is not None

    def evaluate(
        self, model: WhisperForConditionalGeneration, report: Report, folder: str, whole: bool = True
    ) -> Report:
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
            objective=self._objective(rates),
            intermediate=not whole and len(self.intermediate) < len(self.whole),
            utterances=path,
        )

    def decode_share(self, model: WhisperForConditionalGeneration, share: float) -> int:
        """Decode a share of dev, all ranks together, and keep nothing of it; return how many utterances they were."""
        return len(self._decode(model, self._spread(lambda utterances: math.ceil(share * utterances))))

    def _spread(self, count: Callable[[int], int]) -> list[int]:
        """Return so many of each language."""
        return [index for own in self.by_language for index in spread(self.dev, own, count(len(own)))]

    def _decode(self, model: WhisperForConditionalGeneration, indices: list[int]) -> pa.Table:
        context = encoder_context(self.log_mel, self.decoding)
        rows = evaluate_utterances(
            model,
            self.tokenizer,
            [self.dev[index] for index in indices],
            lambda positions: self._heard([indices[position] for position in positions], context),
            self.decoding,
            rank=self.rank,
            world_size=self.workers,
            encoded=self.keeps_states,
        )
        return to_table(gather_rows(rows))

    def _heard(self, indices: list[int], context: EncoderContext) -> Tensor:
        """Return a batch's encoder states, or its features; features are kept as long as there is room."""
        frames = context.frames(max(float(self.dev.durations[index]) for index in indices))
        if self._states:
            return self._states(indices, frames)
        key = (frames, *indices)
        if key in self._kept:
            return self._kept[key]
        features = self.log_mel.of([self.dev.audio(index) for index in indices], frames).cpu()
        if sum(one.nbytes for one in self._kept.values()) + features.nbytes <= KEPT_FEATURES:
            self._kept[key] = features
        return features

    def _objective(self, rates: dict[str, LanguageRates]) -> float:
        """Return the mean of the low-resource languages' rates; of WERs and CERs the geometric one.

        These have no common scale, and one training alone has no baseline to measure changes from.
        """
        metrics = self.experiment.metrics
        found = [float(getattr(rates[language], metrics.of(language).field)) for language in metrics.low_resource]
        return float(math.prod(found) ** (1 / len(found))) if metrics.is_relative else sum(found) / len(found)

    def _rates(self, rates: dict[str, LanguageRates]) -> dict[str, dict[str, float]]:
        """Return the rates by name and language; `wer` and `cer` are those of the experiment's texts and cap."""
        metrics = self.experiment.metrics
        attributes = {"wer": metrics.words.field, "cer": metrics.characters.field}
        attributes |= {name: name for name in (*RATES, "insertion_rate") if name not in attributes}
        found = {name: {of: getattr(one, own) for of, one in rates.items()} for name, own in attributes.items()}
        identified = {of: one.language_identification_accuracy for of, one in rates.items()}
        known = {of: share for of, share in identified.items() if share is not None}
        return {**found, "language_identification": known} if known else found


def count(dev: Utterances, experiment: Experiment, part: Part) -> int:
    """Count the utterances of a part of dev."""
    return sum(map(len, indices_in(dev, part, experiment.search.confirm.dev_share)))


def spread(dev: Utterances, indices: list[int], count: int) -> list[int]:
    """Return so many of some utterances, short and long ones alike; always the same ones."""
    by_duration = sorted(indices, key=lambda index: (float(dev.durations[index]), dev.ids[index]))
    return sorted(by_duration[int((place + 0.5) * len(indices) / count)] for place in range(count))
