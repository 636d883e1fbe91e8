"""Recordings and keys for the tests of augmentation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raywce.augmentation.keys import DrawKey
from raywce.augmentation.recordings import Recordings


def of(*samples: NDArray[np.float32]) -> Recordings:
    return Recordings(np.concatenate(samples), np.cumsum([len(one) for one in samples]))


def keys(count: int, seed: int = 0, epoch: int = 0, copy: int = 1) -> list[DrawKey]:
    return [DrawKey(seed, epoch, copy, f"utterance-{number}") for number in range(count)]
