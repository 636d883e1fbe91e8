"""Whether a worker's own memory grows with the corpus; run with -m benchmark -s."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raywce.data.schema import UTTERANCES
from tests.benchmarks.read_corpus import LANGUAGES
from tests.tiny_corpus import rows_of
from tests.tiny_whisper import write_tiny_whisper

ROOT = Path(__file__).parents[2]
UTTERANCES_OF_A_FILE = 250
N = 2_000
BOUND = 1.05


def write_corpus(folder: Path, count: int) -> Path:
    """`count` utterances, as `prepare` would write them: a file for each few hundred."""
    for language in LANGUAGES:
        target = folder / "train" / language
        target.mkdir(parents=True)
        clips = rows_of(language, "train", 100)  # again and again, under other ids
        for start in range(0, count // len(LANGUAGES), UTTERANCES_OF_A_FILE):
            numbers = range(start, start + UTTERANCES_OF_A_FILE)
            rows = [clips[number % len(clips)] | {"id": f"{language}-{number:06d}"} for number in numbers]
            table = pa.Table.from_pylist(rows, schema=UTTERANCES)
            pq.write_table(table, target / f"{start:06d}.parquet", compression="none")
    return folder


def peak_kilobytes(checkpoint: Path, folder: Path, cache: Path) -> int:
    arguments = [sys.executable, "-m", "tests.benchmarks.read_corpus", str(checkpoint), str(folder), str(cache)]
    return int(subprocess.run(arguments, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


@pytest.mark.benchmark
def test_own_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("RssAnon is known on Linux only")
    checkpoint = write_tiny_whisper(tmp_path / "whisper")
    folders = {count: write_corpus(tmp_path / str(count), count) for count in (N, 10 * N)}
    for what in ("building the Arrow copy", "with the Arrow copy there"):
        peaks = {n: peak_kilobytes(checkpoint, folder, tmp_path / "cache") for n, folder in folders.items()}
        ratio = peaks[10 * N] / peaks[N]
        figures = ", ".join(f"{kilobytes / 1024:.0f} MiB with {n} utterances" for n, kilobytes in peaks.items())
        print(f"\nown memory, {what}: {figures}; ratio {ratio:.3f}")
        assert ratio <= BOUND
