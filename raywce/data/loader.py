"""A worker's micro-batches, step by step, decoded ahead of their use by threads.

Threads and not processes: libsndfile, soxr and the tokenizer release the interpreter's lock, and a worker then starts
at once, without a fork of a process that runs Ray's threads.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from raywce.data.context import EncoderContext
from raywce.data.features import pad_waveforms
from raywce.data.labels import LabelEncoder, pad_labels
from raywce.data.sampler import BatchSampler, Draw, split_batch
from raywce.data.schema import SAMPLE_RATE
from raywce.data.store import Utterances
from raywce.errors import Problems


@dataclass(frozen=True)
class MicroBatch:
    """Utterances that one worker puts through the model at once.

    Attributes:
        waveforms: (B, T) float32, 16 kHz, zeros behind each utterance.
        samples: (B,) true lengths; by the durations where there are `states`.
        labels: (B, L) int64, `IGNORED` behind each utterance.
        languages: B language codes.
        ids: B utterance ids.
        epochs: B epochs, each of its language.
        copies: B numbers: 0 as recorded, from 1 an augmented copy.
        states: (B, S, D) float16 of an encoder that is not trained, in place of `waveforms`, which are then empty.
    """

    waveforms: Tensor
    samples: list[int]
    labels: Tensor
    languages: list[str]
    ids: list[str]
    epochs: list[int]
    copies: list[int]
    states: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def pinned(self) -> MicroBatch:
        """Return it in memory that a GPU copies from while the host continues."""
        states = None if self.states is None else self.states.pin_memory()
        return replace(self, waveforms=self.waveforms.pin_memory(), labels=self.labels.pin_memory(), states=states)


@dataclass(frozen=True)
class StepBatch:
    """One worker's part of a global batch, and what it must know of the whole.

    Attributes:
        micro_batches: this worker's, one for each accumulation step.
        tokens: label tokens of each language in the global batch.
        utterances: utterances of each language in the global batch.
        ids: of the global batch's utterances.
        frames: of the features, the same for the whole global batch; None: the checkpoint's whole window.
    """

    micro_batches: list[MicroBatch]
    tokens: dict[str, int]
    utterances: dict[str, int]
    ids: list[str]
    frames: int | None = None


@dataclass(frozen=True)
class Corpus:
    """A split that is ready to be trained on.

    Attributes:
        label_lengths: (n,) without time stamps.
        states: gives the encoder states of utterances at a number of frames, where those are kept.
        timed: whether draws may have time stamps, which are a label more.
    """

    utterances: Utterances
    encoder: LabelEncoder
    label_lengths: NDArray[np.int32]
    states: Callable[[list[int], int], Tensor] | None = None
    timed: bool = False

    def pools(self, languages: list[str], longest: float = math.inf) -> dict[str, NDArray[np.int64]]:
        """Return, for each language, the indices whose labels the decoder has room for, of at most `longest` seconds.

        Raises:
            InputError: a language has none.
        """
        checked = {name: self._checked(name, longest) for name in languages}
        pools = {name: rows[fits & lasts] for name, (rows, fits, lasts) in checked.items()}
        problems = Problems()
        for name in (name for name, rows in pools.items() if not len(rows)):
            seconds = "" if longest == math.inf else f" and {longest:g} s"
            rule = f"each language must have utterances of at most {self._most_labels} labels{seconds}"
            problems.add("data.folder", rule, f"none of {len(checked[name][0])} for {name}", "Prepare shorter ones")
        problems.raise_any()
        return pools

    def left_out(self, languages: list[str], longest: float = math.inf) -> dict[str, dict[str, int]]:
        """Count each language's utterances that are not in the pools: of too many labels, or of too many seconds."""
        checked = {name: self._checked(name, longest) for name in languages}
        return {
            "left_out": {name: int((~fits).sum()) for name, (_, fits, _) in checked.items()},
            "beyond_context": {name: int((fits & ~lasts).sum()) for name, (_, fits, lasts) in checked.items()},
        }

    def _checked(self, language: str, longest: float) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return a language's indices, and which of them have few enough labels, and seconds."""
        rows = np.asarray(self.utterances.ranges[language], np.int64)
        return rows, self.label_lengths[rows] <= self._most_labels, self.utterances.durations[rows] <= longest

    @property
    def _most_labels(self) -> int:
        return self.encoder.limit - self.timed

    def language(self, index: int) -> str:
        """Return the language of an utterance, without touching its row."""
        return next(name for name, rows in self.utterances.ranges.items() if index in rows)

    def load(self, draws: list[Draw], frames: int | None = None) -> MicroBatch:
        """Decode and tokenize the utterances of some draws; `frames` are those that the encoder sees of them."""
        indices = [draw.index for draw in draws]
        rows = [self.utterances[index] for index in indices]
        if self.states and frames:
            states, waveforms = self.states(indices, frames), []
            samples = [round(SAMPLE_RATE * float(self.utterances.durations[index])) for index in indices]
        else:
            states, waveforms = None, [self.utterances.audio(index) for index in indices]
            samples = [len(waveform) for waveform in waveforms]
        languages = [row.language for row in rows]
        ends = [float(self.utterances.durations[draw.index]) if draw.timed else None for draw in draws]
        labels = self.encoder.encode([row.text for row in rows], languages, ends)
        return MicroBatch(
            pad_waveforms(waveforms),
            samples,
            pad_labels(labels),
            languages,
            [row.id for row in rows],
            [draw.epoch for draw in draws],
            [draw.copy for draw in draws],
            states,
        )


@dataclass(frozen=True)
class Loader:
    """Iterator over a worker's step batches.

    Attributes:
        rank: this worker's number.
        workers: how many share a global batch.
        accumulation_steps: micro-batches of a worker's part.
        threads: that decode audio.
        prefetch: micro-batches kept ready.
        context: how many frames a step has; None: the checkpoint's whole window.
        slowest: how many times as long an augmented copy may become.
        pinned: whether batches are for a GPU.
    """

    corpus: Corpus
    sampler: BatchSampler
    rank: int
    workers: int
    accumulation_steps: int
    threads: int
    prefetch: int
    context: EncoderContext | None = None
    slowest: float = 1.0
    pinned: bool = False

    def batches(self, first_step: int) -> Iterator[StepBatch]:
        """Yield the batches of `first_step`, `first_step` + 1, … to the last step; at least one is kept ready."""
        ahead = max(1, -(-self.prefetch // self.accumulation_steps))
        waiting: deque[tuple[list[Draw], int | None, list[Future[MicroBatch]]]] = deque()
        pool = ThreadPoolExecutor(self.threads, "loader")
        try:
            for step in range(first_step, self.sampler.steps + ahead):
                if step < self.sampler.steps:
                    draws = self.sampler.batch(step)
                    parts = split_batch(draws, self.workers, self.accumulation_steps, self.rank)
                    frames = self._frames(draws)
                    futures = [pool.submit(self._load, part, frames) for part in parts]
                    waiting.append((draws, frames, futures))
                if waiting and (len(waiting) > ahead or step >= self.sampler.steps):
                    yield self._step_batch(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)  # whoever stops early does not wait for what is left

    def _load(self, draws: list[Draw], frames: int | None) -> MicroBatch:
        loaded = self.corpus.load(draws, frames)
        return loaded.pinned() if self.pinned else loaded

    def _frames(self, draws: list[Draw]) -> int | None:
        """Return the frames of a global batch, known without the audio, and so without asking the other ranks."""
        if self.context is None:
            return None
        durations = self.corpus.utterances.durations
        lengths = [float(durations[draw.index]) * (self.slowest if draw.copy else 1.0) for draw in draws]
        rounded = 1 / SAMPLE_RATE if self.slowest > 1.0 else 0.0  # a stretched utterance is whole samples long
        return self.context.frames(max(lengths) + rounded)

    def _step_batch(self, draws: list[Draw], frames: int | None, futures: list[Future[MicroBatch]]) -> StepBatch:
        tokens = dict.fromkeys(self.sampler.languages, 0)
        utterances = dict.fromkeys(self.sampler.languages, 0)
        for draw in draws:
            language = self.corpus.language(draw.index)
            tokens[language] += int(self.corpus.label_lengths[draw.index]) + draw.timed
            utterances[language] += 1
        ids = [self.corpus.utterances.id(draw.index) for draw in draws]
        return StepBatch([future.result() for future in futures], tokens, utterances, ids, frames)
