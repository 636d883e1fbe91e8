"""Whisper base and real speech, set up as a training worker does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raywce.data.features import LogMel
from raywce.data.labels import LabelEncoder
from raywce.data.loader import Corpus, Loader
from raywce.data.sampler import BatchSampler, language_shares
from raywce.data.store import label_lengths, open_split
from raywce.model import UtteranceLosses, load_model, load_tokenizer
from raywce.training.optimizer import OptimizerSettings, make_optimizer
from raywce.training.step import Stepper, update
from raywce.weighting import AlphaSchedule
from tests.speech import WHISPER, folder_of, prepare_speech

LOW_RESOURCE = ["ca"]
LANGUAGES = [*LOW_RESOURCE, "es", "fr", "pt", "de", "en"]
SETTINGS = OptimizerSettings(
    learning_rate=1e-5,
    weight_decay=0.01,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    warmup_steps=0,
    decay="none",
    max_gradient_norm=1.0,
)


class Training:
    """One process' model, optimizer and batches; weight 2 on the low-resource language.

    Args:
        folder: where to prepare the speech.
        batch_size: utterances of a step.
        steps: how many.
    """

    def __init__(self, folder: Path, batch_size: int, steps: int) -> None:
        checkpoint = str(folder_of(WHISPER))
        self.model: Any = load_model(checkpoint)
        self.optimizer = make_optimizer(self.model, SETTINGS)
        self.log_mel = LogMel.from_checkpoint(checkpoint)
        encoder = LabelEncoder.of(self.model, load_tokenizer(checkpoint), {name: name for name in LANGUAGES})
        utterances = open_split(prepare_speech(folder / "prepared"), "train", LANGUAGES, folder / "cache")
        corpus = Corpus(utterances, encoder, label_lengths(utterances, encoder, folder / "cache"))
        pools = corpus.pools(LANGUAGES)
        shares = language_shares({name: len(pool) for name, pool in pools.items()}, temperature=2.0)
        sampler = BatchSampler(pools, utterances.durations, shares, batch_size=batch_size, steps=steps, seed=0)
        self.loader = Loader(corpus, sampler, 0, 1, accumulation_steps=1, threads=2, prefetch=4)
        schedules = {name: AlphaSchedule(2.0, 2.0) for name in LOW_RESOURCE}
        self.stepper = Stepper(UtteranceLosses(self.model), self.log_mel, schedules, LANGUAGES, steps)

    def step(self, batch: Any, number: int) -> None:
        """One optimizer step, as the worker does it."""
        self.stepper.gradients(batch, number)
        update(self.model, self.optimizer, SETTINGS.max_gradient_norm)
