"""Choice of each global batch's utterances: seeded, in known language shares, computable for any step by itself.

Nothing is remembered between steps, so a resumed run continues in the middle of an epoch, and the batch of a step is
the same for any number of workers and any split into micro-batches.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Copies = int | Literal["all"]


@dataclass(frozen=True)
class Draw:
    """One utterance of a batch.

    Attributes:
        index: of the utterance.
        epoch: how often its language had been gone through before it.
        copy: 0: as recorded; from 1: which augmented copy.
        timed: its labels have time stamps.
    """

    index: int
    epoch: int
    copy: int = 0
    timed: bool = False


def language_shares(
    counts: Mapping[str, int], temperature: float = 1.0, explicit: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return each language's share of the draws: explicit, or growing as n^(1/temperature); they add up to 1."""
    if explicit is not None:
        raw = {language: explicit[language] for language in counts}
    else:
        raw = {language: count ** (1.0 / temperature) for language, count in counts.items()}
    total = sum(raw.values())
    return {language: value / total for language, value in raw.items()}


def with_copies(counts: Mapping[str, int], copies: Mapping[str, Copies]) -> dict[str, int]:
    """Return each language's count with its augmented copies; `all` augments what is there, and adds none."""
    return {name: count * (1 + _added(copies.get(name, 0))) for name, count in counts.items()}


def with_both_kinds(shares: Mapping[str, float], low_resource: set[str], batch_size: int) -> dict[str, float]:
    """Raise the smaller side's shares, where they are too small for one utterance in each batch, to just that."""
    least = 1.0 / batch_size
    low = sum(share for language, share in shares.items() if language in low_resource)
    high = sum(share for language, share in shares.items() if language not in low_resource)
    if not low or not high or batch_size < 2 or least <= low <= 1.0 - least:
        return dict(shares)
    wanted = least if low < least else 1.0 - least
    scale = {True: wanted / low, False: (1.0 - wanted) / high}
    return {language: share * scale[language in low_resource] for language, share in shares.items()}


class BatchSampler:
    """Global batches by step.

    Each step's counts a language come from systematic sampling: on average exactly the shares, in each batch within
    one utterance of them. A language's utterances come in a new seeded order in each of its epochs.

    Args:
        pools: for each language, the indices to draw from; low-resource languages first, so that their joint count is
            within one utterance of their joint share too.
        durations: (n,) seconds, by index.
        shares: as `language_shares` gives them.
        batch_size: utterances of a global batch.
        steps: optimizer steps of the training.
        seed: of everything random here.
        duration_window: steps whose utterances are dealt out by duration, so that each batch holds alike ones.
        copies: augmented copies of each utterance, by language: of n + 1 epochs in a row, an utterance is as recorded
            in one, and a copy in n; `all`: a copy in each. For given shares, which utterances are drawn does not
            depend on it.
        timed: share of the draws as recorded whose labels have time stamps; of an augmented copy the end may be
            another.
    """

    def __init__(
        self,
        pools: Mapping[str, NDArray[np.int64]],
        durations: NDArray[np.float32],
        shares: Mapping[str, float],
        *,
        batch_size: int,
        steps: int,
        seed: int,
        duration_window: int = 1,
        copies: Mapping[str, Copies] | None = None,
        timed: float = 0.0,
    ) -> None:
        self.languages = list(pools)
        self._pools = dict(pools)
        self._durations = durations
        self._seed = seed
        self._window = duration_window
        self._copies = dict(copies or {})
        self._timed = timed
        self.steps = steps
        self.counts = _counts(np.array([shares[name] for name in pools]), batch_size, steps, seed)
        self._drawn = np.vstack([np.zeros((1, len(pools)), np.int64), np.cumsum(self.counts, axis=0)])
        self._order = lru_cache(maxsize=3 * len(pools))(self._new_order)
        self._turns = lru_cache(maxsize=None)(self._new_turns)
        self._times = lru_cache(maxsize=3 * len(pools))(self._new_times)
        self._dealt = lru_cache(maxsize=2)(self._deal)

    def batch(self, step: int) -> list[Draw]:
        """Return the global batch of `step`, shortest utterance first."""
        window, within = divmod(step, self._window)
        return self._dealt(window)[within]

    def _deal(self, window: int) -> list[list[Draw]]:
        """Return the batches of a window: the shortest draws of each language go to one step, the next to another, …"""
        first = window * self._window
        last = min(first + self._window, self.steps)
        turns = np.random.default_rng([self._seed, 2, window]).permutation(last - first)
        batches: list[list[Draw]] = [[] for _ in turns]
        for column, language in enumerate(self.languages):
            draws = self._draws(language, self._drawn[first, column], self._drawn[last, column])
            position = 0
            for turn in turns:
                count = self.counts[first + turn, column]
                batches[turn].extend(draws[position : position + count])
                position += count
        return [sorted(batch, key=self._by_duration) for batch in batches]

    def _draws(self, language: str, start: int, stop: int) -> list[Draw]:
        size = len(self._pools[language])
        places = (divmod(place, size) for place in range(start, stop))
        return sorted((self._draw(language, *place) for place in places), key=self._by_duration)

    def _draw(self, language: str, epoch: int, rest: int) -> Draw:
        copy = self._copy(language, epoch, rest)
        timed = not copy and bool(self._times(language, epoch)[rest])
        return Draw(int(self._order(language, epoch)[rest]), epoch, copy, timed)

    def _copy(self, language: str, epoch: int, rest: int) -> int:
        """Return which copy the `rest`-th draw of an epoch is."""
        copies = self._copies.get(language, 0)
        if copies == "all":
            return 1
        if copies == 0:
            return 0
        index = self._order(language, epoch)[rest]
        return (self._turns(language)[int(index)] + epoch) % (copies + 1)

    def _new_turns(self, language: str) -> dict[int, int]:
        """Return each utterance's place in an order of its own; neighbours there are as recorded in other epochs."""
        key = [self._seed, 3, zlib.crc32(language.encode())]
        order = np.random.default_rng(key).permutation(self._pools[language])
        return {int(index): place for place, index in enumerate(order)}

    def _new_times(self, language: str, epoch: int) -> NDArray[np.bool_]:
        key = [self._seed, 4, zlib.crc32(language.encode()), epoch]
        return np.random.default_rng(key).random(len(self._pools[language])) < self._timed

    def _by_duration(self, draw: Draw) -> tuple[float, int]:
        return float(self._durations[draw.index]), draw.index

    def _new_order(self, language: str, epoch: int) -> NDArray[np.int64]:
        key = [self._seed, 1, zlib.crc32(language.encode()), epoch]
        return np.random.default_rng(key).permutation(self._pools[language])


def _added(copies: Copies) -> int:
    return 0 if copies == "all" else copies


def _counts(shares: NDArray[np.float64], batch_size: int, steps: int, seed: int) -> NDArray[np.int64]:
    """Count (steps, languages) utterances: the points u, u + 1, … in each language's part of [0, batch_size)."""
    edges = np.concatenate([[0.0], np.cumsum(shares) / shares.sum() * batch_size])
    edges = np.round(edges, 9)  # a share of exactly one utterance must not come out as 0.999…
    offsets = np.random.default_rng([seed, 0]).random(steps)
    return np.diff(np.ceil(edges[None, :] - offsets[:, None]), axis=1).astype(np.int64)


def split_batch(draws: list[Draw], workers: int, accumulation_steps: int, rank: int) -> list[list[Draw]]:
    """Return a worker's micro-batches: neighbours by duration share one, and so do the workers' at the same moment."""
    size, rest = divmod(len(draws), workers * accumulation_steps)
    if rest or not size:
        raise ValueError(f"a batch of {len(draws)} can't be split over {workers} workers × {accumulation_steps} steps")
    starts = [(turn * workers + rank) * size for turn in range(accumulation_steps)]
    return [draws[start : start + size] for start in starts]
