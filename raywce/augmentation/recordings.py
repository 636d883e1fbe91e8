"""A folder of recordings (noises, impulse responses) at 16 kHz: resampled once, then memory-mapped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raywce.data.prepare.audio import BadAudioError, decode
from raywce.errors import Problems
from raywce.storage.files import replaced
from raywce.storage.node_copy import made_once

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
_LONGEST_S = 3600.0


@dataclass(frozen=True)
class Recordings:
    """16 kHz mono recordings, one behind the other.

    Attributes:
        samples: (T,) float32, memory-mapped.
        ends: (n,) where each recording ends.
    """

    samples: NDArray[np.float32]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = int(self.ends[index - 1]) if index else 0
        return self.samples[start : int(self.ends[index])]

    def any_of(self, generator: np.random.Generator) -> NDArray[np.float32]:
        """Return a recording, each as likely."""
        return self[int(generator.integers(len(self)))]

    def piece(self, generator: np.random.Generator, length: int) -> NDArray[np.float32]:
        """Return (length,) float32 of some recording, from some place in it on; one that is too short is repeated."""
        recording = self.any_of(generator)
        start = int(generator.integers(max(1, len(recording) - length + 1)))
        return np.resize(recording[start:], length)


def audio_files(folder: Path) -> list[Path]:
    """Return the recordings in a folder and the folders in it, linked ones too, by name; none of hidden files.

    macOS leaves a hidden `._noise.wav`, which is no audio, beside each file that it copies to other disks.
    """
    inside = (Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names)
    audio = (file for file in inside if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    return sorted(file for file in audio if file.is_file())


def check_recordings(folder: Path, path: str) -> Problems:
    """Return what a folder of recordings lacks; `path` names its key in the messages."""
    problems = Problems()
    if not audio_files(folder):
        problems.add(path, f"must be a folder with {', '.join(SUFFIXES)} files", folder)
    return problems


def open_recordings(folder: Path, cache: Path, path: str) -> Recordings:
    """Open a folder's recordings, resampled to 16 kHz mono in the node's cache where that was not done yet.

    Args:
        folder: of any formats and rates of libsndfile.
        cache: of this node; the copy is kept by the files' names, sizes and times.
        path: the folder's key path, for messages.

    Raises:
        InputError: no recordings, or ones that can't be decoded: all of these are named.
    """
    check_recordings(folder, path).raise_any()
    files = audio_files(folder)
    target = cache / "recordings" / _key(files)
    samples = target.with_suffix(".samples.npy")
    ends = made_once(target.with_suffix(".ends.npy"), lambda ends: _write(_decoded(files, path), samples, ends))
    return Recordings(np.load(samples, mmap_mode="r"), np.load(ends))


def _key(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat()
        digest.update(f"{file}:{stat.st_size}:{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _write(decoded: Iterable[NDArray[np.float32]], samples: Path, ends: Path) -> None:
    recordings = list(decoded)
    with replaced(samples) as partial, partial.open("wb") as stream:
        np.save(stream, np.concatenate(recordings))
    with ends.open("wb") as stream:
        np.save(stream, np.cumsum([len(recording) for recording in recordings]))


def _decoded(files: list[Path], path: str) -> Iterator[NDArray[np.float32]]:
    problems = Problems()
    for file in files:
        try:
            yield decode(file.read_bytes(), _LONGEST_S).samples
        except BadAudioError as error:
            problems.add(
                path, "recordings must be whole", f"{file}: {error}", "Replace it, or take it out of the folder."
            )
    problems.raise_any()
