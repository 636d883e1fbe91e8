"""Whisper base and real speech, set up as a training worker does it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raywce.data.context import EncoderContext
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
        folder: where to prepare the speech, if it is not there yet.
        batch_size: utterances of a step.
        steps: how many.
        precision: of the step.
        seed: of the batches.
        duration_window: steps over which utterances are sorted by duration into batches.
        context: of the encoder; none: the whole window.
        seconds: of the shortest and the longest utterance taken.
    """

    def __init__(
        self,
        folder: Path,
        batch_size: int,
        steps: int,
        *,
        precision: str = "fp32",
        seed: int = 0,
        duration_window: int = 1,
        context: Mapping[str, Any] | None = None,
        seconds: tuple[float, float] = (0.0, 30.0),
    ) -> None:
        checkpoint = str(folder_of(WHISPER))
        self.model: Any = load_model(checkpoint)
        self.optimizer = make_optimizer(self.model, SETTINGS)
        self.log_mel = LogMel.from_checkpoint(checkpoint)
        encoder = LabelEncoder.of(self.model, load_tokenizer(checkpoint), {name: name for name in LANGUAGES})
        prepared = folder / "prepared"
        if not prepared.exists():
            prepare_speech(prepared)
        utterances = open_split(prepared, "train", LANGUAGES, folder / "cache")
        corpus = Corpus(utterances, encoder, label_lengths(utterances, encoder, folder / "cache"))
        durations = utterances.durations
        pools = {
            name: rows[(durations[rows] >= seconds[0]) & (durations[rows] <= seconds[1])]
            for name, rows in corpus.pools(LANGUAGES).items()
        }
        shares = language_shares({name: len(pool) for name, pool in pools.items()}, temperature=2.0)
        sampler = BatchSampler(
            pools,
            durations,
            shares,
            batch_size=batch_size,
            steps=steps,
            seed=seed,
            duration_window=duration_window,
        )
        own = EncoderContext.of(self.log_mel, **(context or {}))
        self.loader = Loader(corpus, sampler, 0, 1, accumulation_steps=1, threads=2, prefetch=4, context=own)
        schedules = {name: AlphaSchedule(2.0, 2.0) for name in LOW_RESOURCE}
        losses = UtteranceLosses(self.model)
        self.stepper = Stepper(losses, self.log_mel, schedules, LANGUAGES, steps, precision=precision, seed=seed)

    def step(self, batch: Any, number: int) -> None:
        """One optimizer step, as the worker does it."""
        self.stepper.gradients(batch, number)
        update(self.model, self.optimizer, SETTINGS.max_gradient_norm)
