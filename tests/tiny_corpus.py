"""A prepared folder in miniature: tones of different lengths with short texts, in the columns that `prepare` writes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from raywce.data.schema import SAMPLE_RATE, UTTERANCES

WORDS = ("ola", "mar", "sol", "casa", "vento", "lúa", "pan", "río")


def flac(seconds: float, frequency: float = 440.0) -> bytes:
    """A quiet tone, 16 kHz mono, 16 bit."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.1 * np.sin(2 * np.pi * frequency * time), SAMPLE_RATE, format="FLAC")
    return buffer.getvalue()


def rows_of(language: str, split: str, count: int, seed: int = 0) -> list[dict[str, object]]:
    """Utterances of 0.2 to 2 s, with one to five words each."""
    rng = np.random.default_rng([seed, *language.encode(), len(split)])
    rows = []
    for number in range(count):
        duration = float(rng.uniform(0.2, 2.0))
        id_ = f"{language}-{split}-{number:04d}"
        rows.append(
            {
                "id": id_,
                "audio": {"bytes": flac(duration, rng.uniform(200, 2000)), "path": f"{id_}.flac"},
                "text": " ".join(rng.choice(WORDS, rng.integers(1, 6))),
                "language": language,
                "speaker": f"{language}-{number % 3}",
                "duration": duration,
            }
        )
    return rows


def write_tiny_corpus(
    folder: Path, train: Mapping[str, int], dev: Mapping[str, int] | None = None, seed: int = 0
) -> Path:
    """Write `train` (utterances of each language) and `dev` (as many as `dev` says, else 3) and return `folder`."""
    dev = dev or dict.fromkeys(train, 3)
    for split, counts in {"train": train, "dev": dev, "test": dev}.items():
        for language, count in counts.items():
            target = folder / split / language / "00000.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows_of(language, split, count, seed), schema=UTTERANCES), target)
    return folder
