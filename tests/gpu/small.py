"""A small training on any device, as a worker sets it up; and distances between what two devices give."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from raywce.augmentation.augmenter import Augmenter
from raywce.data.context import EncoderContext
from raywce.data.features import LogMel
from raywce.data.labels import LabelEncoder
from raywce.data.loader import Corpus, Loader, StepBatch
from raywce.data.sampler import BatchSampler, language_shares
from raywce.data.store import label_lengths, open_split
from raywce.model import UtteranceLosses, load_model, load_tokenizer
from raywce.training.optimizer import OptimizerSettings, make_optimizer
from raywce.training.step import Stepper, update
from raywce.weighting import AlphaSchedule
from tests.tiny_corpus import write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper

LANGUAGES = ["gl", "es", "en"]
SETTINGS = OptimizerSettings(1e-4, 0.01, 0.9, 0.999, 1e-8, 0, "none", 1.0)
STEPS = 6


def write_inputs(folder: Path, width: int) -> Path:
    """Write a Whisper without dropout, whose draws differ from device to device, and speech; return the folder."""
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 4 * width, "decoder_ffn_dim": 4 * width}
    write_tiny_whisper(folder / "model", chunk_length=3, d_model=width, **layers)
    return write_tiny_corpus(folder, {"gl": 8, "es": 16, "en": 16}, {"gl": 4, "es": 4, "en": 4})


class Small:
    """Six steps of eight utterances of the speech in `inputs`."""

    def __init__(
        self,
        inputs: Path,
        device: torch.device,
        precision: str = "fp32",
        accumulation: int = 1,
        adaptive: bool = False,
        context: str = "full",
        augmenter: Augmenter | None = None,
    ) -> None:
        self.model = load_model(str(inputs / "model")).to(device)
        self.optimizer = make_optimizer(self.model, SETTINGS)
        self.scaler = torch.amp.GradScaler(device.type) if precision == "fp16" else None
        self.log_mel = LogMel.from_checkpoint(str(inputs / "model")).to(device)
        train = open_split(inputs, "train", LANGUAGES, inputs / "cache")
        encoder = LabelEncoder.of(self.model, load_tokenizer(str(inputs / "model")), {name: name for name in LANGUAGES})
        corpus = Corpus(train, encoder, label_lengths(train, encoder, inputs / "cache"))
        pools = corpus.pools(LANGUAGES)
        copies = {"gl": 1} if augmenter else None
        shares = language_shares({name: len(pool) for name, pool in pools.items()})
        sampler = BatchSampler(pools, train.durations, shares, batch_size=8, steps=STEPS, seed=1, copies=copies)
        seen = EncoderContext.of(self.log_mel, context, margin=0.5)
        slowest = 1.2 if augmenter else 1.0
        self.loader = Loader(
            corpus,
            sampler,
            0,
            1,
            accumulation,
            threads=1,
            prefetch=1,
            context=seen,
            slowest=slowest,
            pinned=device.type == "cuda",
        )
        self.stepper = Stepper(
            UtteranceLosses(self.model),
            self.log_mel,
            {"gl": AlphaSchedule(2.0, 3.0, adaptive=adaptive)},
            LANGUAGES,
            STEPS,
            precision=precision,
            seed=1,
            scaler=self.scaler,
            augmenter=augmenter,
        )

    def batches(self) -> list[StepBatch]:
        return list(self.loader.batches(0))

    def update(self) -> Tensor:
        return update(self.model, self.optimizer, SETTINGS.max_gradient_norm, self.scaler)

    def train(self, first: int = 0, last: int = STEPS) -> list[float]:
        """Train from one step to another and return each step's summed loss."""
        losses = []
        for step, batch in list(enumerate(self.batches()))[first:last]:
            losses.append(sum(self.stepper.gradients(batch, step).read(self.update()).losses.values()))
        return losses

    def gradient(self) -> Tensor:
        return flat([parameter.grad for parameter in self.model.parameters() if parameter.grad is not None])

    def weights(self) -> Tensor:
        return flat([parameter.detach() for parameter in self.model.parameters()])


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([one.double().cpu().flatten() for one in tensors])


def off(one: Tensor, other: Tensor) -> float:
    """Return the relative distance; infinite where a number is not finite."""
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    distance = float((one - other).norm() / other.norm())
    return distance if math.isfinite(distance) else math.inf
