"""One training of the study on human speech, with its evaluation, beside Hugging Face's way; run with -m benchmark -s.

RAYWCE_STUDY names the prepared speech of `search_spaces/catalan.yaml`. The peer is the recipe: Seq2SeqTrainer in bf16,
whole windows, `predict_with_generate`; the same draws, steps and dev utterances. RAYWCE_STUDY_PART, such as 0.25, has
the peer do that part of its steps and of dev, and counts the rest. A search has a study of Optuna around either, whose
own time does not show beside this.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, WhisperForConditionalGeneration

from raywce.data.features import LogMel
from raywce.data.labels import LabelEncoder
from raywce.data.loader import Corpus, Loader
from raywce.data.sampler import BatchSampler, language_shares
from raywce.data.store import Utterances, label_lengths, open_split
from raywce.experiment.load import load
from raywce.experiment.schema import Experiment
from raywce.model import load_tokenizer
from tests.benchmarks.demo_runs import raywce
from tests.speech import WHISPER, folder_of

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3 * 3600)]

STUDY, CATALAN = "RAYWCE_STUDY", Path(__file__).parents[2] / "search_spaces" / "catalan.yaml"
ONE = ["weighting={kind: constant, alpha: 2}", "data.sampling.shares.ca=1"]
PART = float(os.environ.get("RAYWCE_STUDY_PART", "1"))


def experiment_of(folder: Path) -> tuple[list[str], Experiment]:
    """The training: as overrides of the shipped file, and as it is read."""
    speech, whisper = folder_of(STUDY), folder_of(WHISPER)
    overrides = [f"model.checkpoint={whisper}", f"data.folder={speech}", f"storage={folder}", "name=one", *ONE]
    return overrides, load(CATALAN, overrides, check_files=False).experiment


def own_seconds(overrides: list[str]) -> float:
    """From the command to its end: the cluster's start, the training, dev."""
    started = time.monotonic()
    raywce("train", str(CATALAN), *overrides)
    return time.monotonic() - started


class Peer:
    """Whisper by Hugging Face's trainer."""

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        self.experiment, self.folder = experiment, folder
        self.checkpoint, self.speech = experiment.model.checkpoint, Path(experiment.data.folder)
        self.model = WhisperForConditionalGeneration.from_pretrained(self.checkpoint, dtype=torch.float32)
        self.tokenizer, self.log_mel = load_tokenizer(self.checkpoint), LogMel.from_checkpoint(self.checkpoint)
        tokens = {language: language for language in experiment.languages.decoded}
        self.encoder = LabelEncoder.of(self.model, self.tokenizer, tokens)

    def open(self, split: str, *languages: str) -> Utterances:
        return open_split(self.speech, split, languages, self.folder / "cache")

    def trained_s(self, steps: int) -> float:
        started = time.monotonic()
        self._trainer(self._batches(steps), max_steps=steps).train()
        return time.monotonic() - started

    def decoded_s(self, share: float) -> float:
        """Every language's dev with its own token, as `generate` has one for a call."""
        started = time.monotonic()
        for language in self.experiment.languages.decoded:
            dev = self.open("dev", language)
            rows = [self._row(dev, index) for index in range(round(share * len(dev)))]
            self.model.generation_config.language, self.model.generation_config.task = language, "transcribe"
            self._trainer(rows, predict_with_generate=True).predict(rows)
        return time.monotonic() - started

    def _batches(self, steps: int) -> list[dict[str, torch.Tensor]]:
        """The experiment's own draws, a row for each batch."""
        languages, data = self.experiment.languages.decoded, self.experiment.data
        utterances = self.open("train", *languages)
        corpus = Corpus(utterances, self.encoder, label_lengths(utterances, self.encoder, self.folder / "cache"))
        pools, size = corpus.pools(languages), self.experiment.training.batch_size
        shares = language_shares({name: len(pool) for name, pool in pools.items()}, explicit=data.sampling.shares)
        sampler = BatchSampler(pools, utterances.durations, shares, batch_size=size, steps=steps, seed=0)
        loader = Loader(corpus, sampler, 0, 1, accumulation_steps=1, threads=2, prefetch=4)
        return [
            {"input_features": self.log_mel(micro.waveforms), "labels": micro.labels}
            for batch in loader.batches(0)
            for micro in batch.micro_batches
        ]

    def _row(self, split: Utterances, index: int) -> dict[str, Any]:
        return {
            "input_features": self.log_mel.of([split.audio(index)])[0],
            "labels": torch.tensor(self.tokenizer(split[index].text).input_ids),
        }

    def _trainer(self, rows: list[dict[str, Any]], max_steps: int = -1, **more: Any) -> Seq2SeqTrainer:
        arguments = Seq2SeqTrainingArguments(
            output_dir=str(self.folder / "peer"),
            per_device_train_batch_size=1,  # a row is a batch already
            per_device_eval_batch_size=self.experiment.training.batch_size,
            max_steps=max_steps,
            learning_rate=self.experiment.training.optimizer.learning_rate,
            bf16=True,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            **more,
        )
        return Seq2SeqTrainer(model=self.model, args=arguments, train_dataset=rows, data_collator=_collated)


def _collated(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A batch: a row that is one already, or several that are padded."""
    if rows[0]["input_features"].ndim == 3:
        return rows[0]
    labels = torch.nn.utils.rnn.pad_sequence([row["labels"] for row in rows], batch_first=True, padding_value=-100)
    return {"input_features": torch.stack([row["input_features"] for row in rows]), "labels": labels}


def test_one_training_with_its_evaluation(tmp_path: Path) -> None:
    overrides, experiment = experiment_of(tmp_path)
    own = own_seconds(overrides)
    peer, steps = Peer(experiment, tmp_path), round(PART * experiment.training.steps)
    training = peer.trained_s(steps) * experiment.training.steps / steps
    decoding = peer.decoded_s(PART) / PART
    print(
        f"\nown: {own:.0f} s. Seq2SeqTrainer: {training + decoding:.0f} s (training {training:.0f}, dev {decoding:.0f})"
    )
    print(f"{(training + decoding) / own:.1f} times as long")
    assert training + decoding > 3 * own
