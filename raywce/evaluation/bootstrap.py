"""The paired bootstrap over utterances or speakers: how much a rate would change with other speech of the same kind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_DRAWS_AT_ONCE = 4_000_000  # of 8 bytes each


def resampled_rates(
    errors: NDArray[np.integer],
    words: NDArray[np.integer],
    groups: NDArray[np.integer] | None = None,
    *,
    resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return rates of whole sets drawn with replacement, the same draws for every model: errors added up, divided once.

    A resample draws as many groups as there are, each with all of its utterances (Efron & Tibshirani 1993, 8.5;
    Bisani & Ney, ICASSP 2004, for WER). The same seed and grouping give the same draws.

    Args:
        errors: (..., n) of each model and utterance, such as substitutions + deletions + insertions.
        words: (n,) reference words (or characters) of the utterances.
        groups: (n,) of each utterance, such as its speaker's number; None: each utterance is its own.
        resamples: how many sets are drawn.
        seed: of the draws.

    Returns:
        (..., resamples) fractions; NaN where a set holds no reference words.
    """
    if groups is not None:
        number = np.unique(groups, return_inverse=True)[1]
        words, errors = _by_group(words, number), _by_group(errors, number)
    models = errors.reshape(-1, errors.shape[-1]).astype(np.float64)
    rates = np.empty((len(models), resamples))
    start = 0
    for times in _drawn(errors.shape[-1], resamples, seed):
        with np.errstate(invalid="ignore"):
            rates[:, start : start + len(times)] = (models @ times.T) / (times @ words)
        start += len(times)
    return rates.reshape(*errors.shape[:-1], resamples)


def _drawn(groups: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield (resamples, groups) in parts: how often each group is in each set."""
    random = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // groups)
    for start in range(0, resamples, at_once):
        sets = min(at_once, resamples - start)
        drawn = random.integers(groups, size=(sets, groups))
        drawn += np.arange(sets)[:, None] * groups
        yield np.bincount(drawn.ravel(), minlength=sets * groups).reshape(sets, groups).astype(np.float64)


def _by_group(counts: NDArray[np.integer], number: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return (..., groups) sums of (..., n)."""
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(number.max() + 1))
    return np.add.reduceat(counts[..., order], starts, axis=-1)
