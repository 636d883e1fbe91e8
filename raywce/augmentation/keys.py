"""Randomness of one draw of one utterance: the same whatever the batch, the number of workers or a resume."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DrawKey:
    """One draw of one utterance.

    Attributes:
        seed: of the training.
        epoch: of its language, from 0.
        copy: which augmented copy, from 1.
        utterance_id: of the utterance.
    """

    seed: int
    epoch: int
    copy: int
    utterance_id: str

    def generator(self, transform: str) -> np.random.Generator:
        """Return a generator of this draw and transform, whose numbers stay when another transform is turned off."""
        text = f"{self.seed} {self.epoch} {self.copy} {transform} {self.utterance_id}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little"))
