"""States of an encoder that is not trained: computed once a node, kept on its disk, shared by its trainings."""

from __future__ import annotations

import hashlib
import shutil
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raywce.data.context import FRAMES_A_POSITION
from raywce.data.features import LogMel
from raywce.data.store import Utterances
from raywce.evaluation.greedy import encoded
from raywce.precision import computing
from raywce.storage.node_copy import made_once

if TYPE_CHECKING:
    from transformers import WhisperForConditionalGeneration
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

_BYTES = 2  # of a float16
_BLOCK = 512  # bytes, in which a file system counts
_SHARE = 0.5  # of a disk's free space, at most
_AT_ONCE = 8  # utterances


class EncoderStates:
    """Encoder states of a split's utterances; those that are not there yet are computed when they are asked for.

    A file for each number of frames holds (n, frames / 2, D) float16. It is sparse, and memory-mapped: what all of a
    node's trainings read is in its memory once. A row whose first position is nothing but zeros is not there yet. Once
    half of the disk's free space is taken, no more are kept.
    """

    def __init__(self, folder: Path, utterances: int, width: int, encode: Callable[[list[int], int], Tensor]) -> None:
        """Set where they are kept.

        Args:
            folder: of this encoder, these utterances and this precision.
            utterances: how many there are.
            width: D.
            encode: gives the (B, frames / 2, D) states of utterances at a number of frames.
        """
        self._folder, self._utterances, self._width, self._encode = folder, utterances, width, encode
        self._files: dict[int, np.memmap[Any, np.dtype[np.float16]]] = {}
        self._computing = Lock()  # what one thread computes, another one takes
        folder.mkdir(parents=True, exist_ok=True)
        self._reserve = (1 - _SHARE) * shutil.disk_usage(folder).free

    @classmethod
    def of(
        cls,
        encoder: WhisperEncoder,
        key: str,
        utterances: Utterances,
        log_mel: LogMel,
        precision: str,
        cache: Path,
    ) -> EncoderStates:
        """Return those of an encoder without dropout; `key` is its `fingerprint`."""
        # Of this host: on a disk that nodes share, what one writes into a mapped file undoes what another one wrote.
        named = f"{utterances.content} {key} {precision} {socket.gethostname()}"
        place = hashlib.sha256(named.encode()).hexdigest()

        def encode(indices: list[int], frames: int) -> Tensor:
            with torch.no_grad(), computing(precision, log_mel.window.device):
                features = log_mel.of([utterances.audio(index) for index in indices], frames)
                return encoded(encoder, features)

        return cls(cache / "encoder_states" / place, len(utterances), encoder.config.d_model, encode)

    def __call__(self, indices: Sequence[int], frames: int) -> Tensor:
        """Return (B, frames / 2, D) float16 on the CPU; safe to call from threads."""
        states = self._opened(frames)
        without_room: dict[int, NDArray[np.float16]] = {}
        if _missing(states, indices):
            with self._computing:
                missing = _missing(states, indices)
                for start in range(0, len(missing), _AT_ONCE):
                    rows = missing[start : start + _AT_ONCE]
                    found = self._encode(rows, frames).to("cpu", torch.float16).numpy()
                    if shutil.disk_usage(self._folder).free < self._reserve:
                        without_room |= dict(zip(rows, found, strict=True))
                        continue
                    states[rows, 1:] = found[:, 1:]
                    states.flush()  # a machine that is lost may have written pages in any order
                    states[rows, 0] = found[:, 0]  # last: another training may look at any time
        taken = states[list(indices)]
        for place, index in enumerate(indices):
            if index in without_room:
                taken[place] = without_room[index]
        return torch.from_numpy(taken)

    @property
    def on_disk(self) -> int:
        """Bytes that the states which are there take; the rest of the sparse files takes none."""
        return sum(_BLOCK * file.stat().st_blocks for file in self._folder.glob("*.f16"))

    def _opened(self, frames: int) -> np.memmap[Any, np.dtype[np.float16]]:
        if frames not in self._files:
            shape = (self._utterances, frames // FRAMES_A_POSITION, self._width)
            file = made_once(self._folder / f"{frames}.f16", partial(_empty, size=_BYTES * int(np.prod(shape))))
            self._files[frames] = np.memmap(file, np.float16, "r+", shape=shape)
        return self._files[frames]


def fingerprint(encoder: WhisperEncoder) -> str:
    """Return a key of an encoder's weights."""
    digest = hashlib.sha256()
    for name, weight in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _missing(states: NDArray[np.float16], indices: Sequence[int]) -> list[int]:
    return [index for index in dict.fromkeys(indices) if not states[index, 0].any()]


def fits(needed: int, cache: Path) -> bool:
    """Return whether so many bytes take no more than half of what is free on the disk of a node's cache."""
    cache.mkdir(parents=True, exist_ok=True)
    return needed <= _SHARE * shutil.disk_usage(cache).free


def has_dropout(model: WhisperForConditionalGeneration) -> bool:
    """Return whether an encoder in training has other states each time."""
    config = model.config
    return any((config.dropout, config.attention_dropout, config.activation_dropout, config.encoder_layerdrop))


def _empty(file: Path, size: int) -> None:
    with file.open("wb") as stream:
        stream.truncate(size)
