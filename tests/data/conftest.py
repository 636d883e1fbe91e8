"""Tiny corpora on disk: tones as audio, one folder a form."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

WriteAudio = Callable[..., Path]
WriteFolder = Callable[..., Path]


def tone(seconds: float, rate: int = 16_000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """int16 noise and tone, shape (T, channels); noise, so that FLAC can't make it tiny."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 2000, (round(seconds * rate), channels))
    return samples.astype(np.int16)


@pytest.fixture(scope="session")
def write_audio() -> WriteAudio:
    """Writes a clip of a given length in the format of its suffix."""

    def write(path: Path, seconds: float = 0.5, rate: int = 16_000, channels: int = 1, seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(seconds, rate, channels, seed), rate)
        return path

    return write


@pytest.fixture(scope="session")
def write_audiofolder(write_audio: WriteAudio) -> WriteFolder:
    """Writes clips and a metadata.csv with the columns that are asked for."""

    def write(folder: Path, texts: Sequence[str], suffix: str = ".flac", **columns: Sequence[Any]) -> Path:
        names = [f"clip_{index}{suffix}" for index in range(len(texts))]
        for index, name in enumerate(names):
            write_audio(folder / name, 0.3 + 0.01 * index, seed=index)
        with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["file_name", "sentence", *columns])
            writer.writerows(zip(names, texts, *columns.values(), strict=True))
        return folder

    return write
