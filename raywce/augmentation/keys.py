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
        epoch: how often its language had been gone through before.
        copy: which augmented copy, from 1.
        utterance_id: of the utterance.
    """

    seed: int
    epoch: int
    copy: int
    utterance_id: str

    def generator(self, transform: str) -> np.random.Generator:
        """A generator for this draw and transform: turning another transform off leaves its numbers as they are."""
        text = f"{self.seed} {self.epoch} {self.copy} {transform} {self.utterance_id}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little"))
