"""SpecAugment (Park et al. 2019): masks in time and frequency, within an utterance's own frames.

Dimensions: B batch, M mel bins, F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from raywce.augmentation.keys import DrawKey


@dataclass(frozen=True)
class SpecAugment:
    """Masks of log-mel features.

    Attributes:
        probability: that an utterance is masked.
        time_masks: how many.
        time_width: the widest, as a share of the utterance's frames; widths are drawn evenly from 0 on.
        frequency_masks: how many.
        frequency_width: the widest, as a share of the mel bins.
    """

    probability: float
    time_masks: int
    time_width: float
    frequency_masks: int
    frequency_width: float

    def __call__(self, features: Tensor, frames: Sequence[int], keys: Sequence[DrawKey | None]) -> Tensor:
        """Return the (B, M, F) features with masks, which hold the mean of the utterance's own frames.

        Args:
            features: log-mel.
            frames: B true lengths.
            keys: B keys; utterances without one are left alone.
        """
        out = features
        for row, (length, key) in enumerate(zip(frames, keys, strict=True)):
            generator = key.generator("spec_augment") if key else None
            if generator and generator.random() < self.probability:
                out = features.clone() if out is features else out
                self._mask(out[row, :, :length], generator)
        return out

    def _mask(self, features: Tensor, generator: np.random.Generator) -> None:
        bins, frames = features.shape
        mean = features.mean()
        for start, stop in _spans(generator, self.time_masks, self.time_width, frames):
            features[:, start:stop] = mean
        for start, stop in _spans(generator, self.frequency_masks, self.frequency_width, bins):
            features[start:stop] = mean


def _spans(generator: np.random.Generator, count: int, width: float, size: int) -> list[tuple[int, int]]:
    """Draw `count` spans within `size`, each up to `width` of it wide."""
    spans = []
    for _ in range(count):
        wide = int(generator.uniform(0.0, min(1.0, width)) * size + 0.5)
        start = int(generator.integers(size - wide + 1))
        spans.append((start, start + wide))
    return spans
