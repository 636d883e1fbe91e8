"""How much of its window Whisper's encoder sees: all of it, as long as a batch's longest utterance, or so many seconds.

Whisper pads each utterance to 30 s of mostly silence, and its encoder's time goes there. A context is cut in front of
that silence, never in front of speech.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from raywce.data.features import LogMel
from raywce.data.schema import SAMPLE_RATE
from raywce.model import FRAMES_A_POSITION

FromBatch = Literal["full", "batch"]
ContextLength = FromBatch | float


@dataclass(frozen=True)
class EncoderContext:
    """From the longest utterance of a global batch to the frames of its features, the same on all ranks.

    Attributes:
        window: frames of the checkpoint's whole window.
        hop_length: samples from one frame to the next.
        length: full, batch or seconds.
        margin: seconds of silence behind the longest utterance, for `batch`.
        bucket: seconds that the two are rounded up to a multiple of.
        jitter: seconds that are added to it, at most, drawn anew each step.
        full_share: share of the steps that see the whole window.
        seed: of both draws.
    """

    window: int
    hop_length: int
    length: ContextLength = "full"
    margin: float = 0.0
    bucket: float = 0.2
    jitter: float = 0.0
    full_share: float = 0.0
    seed: int = 0

    @classmethod
    def of(cls, log_mel: LogMel, length: ContextLength = "full", **mixed: Any) -> EncoderContext:
        """For a checkpoint's features; `mixed` are the other attributes."""
        return cls(log_mel.n_frames, log_mel.hop_length, length, **mixed)

    @property
    def longest(self) -> float:
        """Seconds of the longest utterance that there is room for."""
        if isinstance(self.length, str):
            return self.window * self.hop_length / SAMPLE_RATE
        return min(self.length, self.window * self.hop_length / SAMPLE_RATE)

    def frames(self, seconds: float, step: int | None = None) -> int:
        """Of a batch whose longest utterance takes so many seconds.

        Args:
            seconds: of the longest utterance, at most `longest`.
            step: which the mixture is drawn for; None: no mixture.

        Returns:
            A number that the encoder takes, with room for the whole utterance.
        """
        if self.length == "full":
            return self.window
        jitter = 0.0
        if step is not None:
            share, place = np.random.default_rng([self.seed, 5, step]).random(2)
            if share < self.full_share:
                return self.window
            jitter = place * self.jitter
        if self.length == "batch":
            seconds = math.ceil(round((seconds + self.margin + jitter) / self.bucket, 6)) * self.bucket
        else:
            seconds = self.length + jitter
        return self._whole(seconds)

    def _whole(self, seconds: float) -> int:
        frames = math.ceil(round(seconds * SAMPLE_RATE / self.hop_length, 3))
        return min(self.window, -(-frames // FRAMES_A_POSITION) * FRAMES_A_POSITION)
