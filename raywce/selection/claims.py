"""The rule by which one of some candidates is chosen, and the claims on it, with a confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raywce.evaluation.confidence import Array, Measurement, holm

NONE = -1


@dataclass(frozen=True)
class Claims:
    """Claims on k candidates by their measurements; arrays are (..., k), leading axes are repetitions.

    Attributes:
        keeps: p of "it breaks the limit of some language", adjusted for the k candidates.
        better: p of "it breaks a limit, or its low-resource WER is not below the baseline's", adjusted likewise.
        low_resource_wer: of each candidate.
    """

    keeps: Array
    better: Array
    low_resource_wer: Array

    def winner(self, confidence: float) -> NDArray[np.int64]:
        """Return (...) the candidate with the lowest low-resource WER of those that keep all limits, or `NONE`."""
        kept = self.keeps <= 1 - confidence
        lowest = np.where(kept, self.low_resource_wer, np.inf).argmin(axis=-1)
        return np.where(kept.any(axis=-1), lowest, NONE)


def claims(excesses: Sequence[Measurement], gain: Measurement, low_resource_wer: Array) -> Claims:
    """Return the claims on k candidates.

    That *all* languages keep their limits needs no correction (each must hold by itself: an intersection-union
    test, Berger 1982); that there are several candidates does (Holm 1979).

    Args:
        excesses: for each language with a limit, `excess` of the candidates (..., k).
        gain: low-resource WER of the candidates minus the baseline's (..., k).
        low_resource_wer: of the candidates (..., k).
    """
    breaks = np.zeros(np.shape(low_resource_wer))
    for one in excesses:
        breaks = np.maximum(breaks, one.estimate().p_value())
    return Claims(holm(breaks), holm(np.maximum(breaks, gain.estimate().p_value())), low_resource_wer)
