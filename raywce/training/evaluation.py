"""Evaluates a trial's model on dev: each rank decodes its share, rank 0 keeps the utterances' counts."""

from __future__ import annotations

from typing import Any

import torch

from raywce.data.features import LogMel
from raywce.data.parts import in_part
from raywce.data.store import Utterances
from raywce.evaluation.decode import evaluate_utterances, gather_rows
from raywce.evaluation.rates import LanguageRates, macro_mean, rates_by_language
from raywce.evaluation.utterances import to_table
from raywce.experiment.schema import Experiment
from raywce.model import AUTOCAST_DTYPES
from raywce.run_folder import write_parquet


class DevSet:
    """The dev split, or the part of it that the phase may see, ready to be decoded again and again."""

    def __init__(
        self, dev: Utterances, experiment: Experiment, tokenizer: Any, log_mel: LogMel, rank: int, workers: int
    ) -> None:
        self.dev, self.indices = dev, _indices(dev, experiment)
        self.settings = experiment.evaluation
        self.languages = experiment.languages
        self.precision = experiment.training.precision
        self.tokenizer, self.log_mel = tokenizer, log_mel
        self.rank, self.workers = rank, workers

    def evaluate(self, model: Any, step: int, folder: str) -> dict[str, Any]:
        """Figures of all ranks together, the same on each; rank 0 writes `utterances-<step>.parquet` to `folder`."""
        rows = evaluate_utterances(
            model,
            self.tokenizer,
            [self.dev[index] for index in self.indices],
            lambda positions: self.log_mel.of([self.dev.audio(self.indices[position]) for position in positions]),
            self.languages.language_tokens,
            batch_size=self.settings.batch_size,
            normalizer=self.settings.normalizer,
            identify_language=self.settings.identify_language,
            autocast_dtype=AUTOCAST_DTYPES[self.precision],
            rank=self.rank,
            world_size=self.workers,
        )
        table = to_table(gather_rows(rows))
        path = f"{folder}/utterances-{step:08d}.parquet"
        if self.rank == 0:
            write_parquet(path, table)
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # the report that names the table must not come before it
        return self._figures(rates_by_language(table)) | {"utterances": path}

    def _figures(self, rates: dict[str, LanguageRates]) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        cer = self.settings.metric.replace("wer", "cer")
        for language, rate in rates.items():
            figures[f"wer/{language}"] = getattr(rate, self.settings.metric)
            figures[f"cer/{language}"] = getattr(rate, cer)
            for name in ("wer_raw", "wer_normalized", "cer_raw", "cer_normalized", "insertion_rate"):
                figures[f"{name}/{language}"] = getattr(rate, name)
            if rate.language_identification_accuracy is not None:
                figures[f"language_identification/{language}"] = rate.language_identification_accuracy
        figures["objective"] = macro_mean(rates, self.languages.low_resource, self.settings.metric)
        return figures


def _indices(dev: Utterances, experiment: Experiment) -> list[int]:
    """Of the utterances that are decoded, language by language."""
    part, share = experiment.evaluation.part, experiment.search.confirm.dev_share
    chosen: list[int] = []
    for indices in dev.ranges.values():
        utterances = [dev[index] for index in indices]
        ids, speakers = [one.id for one in utterances], [one.speaker for one in utterances]
        chosen += [indices[position] for position in in_part(part, share, ids, speakers)]
    return chosen
