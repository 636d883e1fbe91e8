"""Context of Whisper's encoder: its whole window, as long as a batch's longest utterance, or so many seconds.

Whisper pads each utterance to 30 s of mostly silence, and its encoder's time goes there. A context is cut in front of
that silence, never in front of speech.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from raywce.data.features import LogMel
from raywce.data.schema import SAMPLE_RATE

FRAMES_A_POSITION = 2  # stride of the encoder's convolutions
BUCKET = 0.2  # seconds that a batch's context is rounded up to a multiple of: fewer lengths for the kernels to tune for
FromBatch = Literal["full", "batch"]
ContextLength = FromBatch | float


@dataclass(frozen=True)
class EncoderContext:
    """Number of frames that the features of a global batch have, by its longest utterance; the same on all ranks.

    Attributes:
        window: frames of the checkpoint's whole window.
        hop_length: samples from one frame to the next.
        length: full, batch or seconds.
        margin: seconds of silence behind the longest utterance, for `batch`.
    """

    window: int
    hop_length: int
    length: ContextLength = "full"
    margin: float = 0.0

    @classmethod
    def of(cls, log_mel: LogMel, length: ContextLength = "full", margin: float = 0.0) -> EncoderContext:
        """Return the context for a checkpoint's features."""
        return cls(log_mel.n_frames, log_mel.hop_length, length, margin)

    @property
    def longest(self) -> float:
        """Return the seconds of the longest utterance that there is room for."""
        if isinstance(self.length, str):
            return self.window * self.hop_length / SAMPLE_RATE
        return min(self.length, self.window * self.hop_length / SAMPLE_RATE)

    def frames(self, seconds: float) -> int:
        """Return the frames of a batch: a number that the encoder takes, with room for the whole utterance.

        Args:
            seconds: of the batch's longest utterance, at most `longest`.
        """
        if self.length == "full":
            return self.window
        if self.length == "batch":
            seconds = math.ceil(round((seconds + self.margin) / BUCKET, 6)) * BUCKET
        else:
            seconds = self.length
        frames = math.ceil(round(seconds * SAMPLE_RATE / self.hop_length, 3))
        return min(self.window, -(-frames // FRAMES_A_POSITION) * FRAMES_A_POSITION)
