"""A small experiment file with everything it names, for tests."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raywce.errors import InputError, Problem
from raywce.experiment.load import ExperimentFile, load
from tests.tiny_whisper import write_tiny_whisper

FILE = """
name: example
model: {checkpoint: CHECKPOINT}
data: {folder: DATA}
languages: {low_resource: [gl], high_resource: [es, pt]}
weighting: {kind: constant, alpha: 2}
training: {steps: 100, batch_size: 8}
"""
FAMILY = (
    "weighting={kind: family, alpha_initial: {uniform: [1, 4]}, alpha_final: {uniform: [1, 6]}, "
    "ramp_start: {uniform: [0, 0.75]}, ramp_fraction: {uniform: [0, 1]}, adaptive: {choice: [false, true]}}"
)
SEARCHED_RATE = "training.optimizer.learning_rate={loguniform: [1e-6, 1e-4]}"


def write_example(folder: Path) -> Path:
    """Write the file, with a stand-in of the speech and a tiny checkpoint that it names."""
    for split in ("train", "dev", "test"):
        for language in ("gl", "es", "pt"):
            part = folder / "prepared" / split / language
            part.mkdir(parents=True)
            write_rows(part / "0.parquet", 2)
    checkpoint = folder / "whisper"
    shutil.copytree(_whisper(), checkpoint)
    file = folder / "example.yaml"
    file.write_text(FILE.replace("CHECKPOINT", str(checkpoint)).replace("DATA", str(folder / "prepared")))
    return file


@cache
def _whisper() -> Path:
    """A tiny Whisper, written once for all examples."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_tiny_whisper(folder / "whisper", languages=("gl", "es", "pt", "en"))


def write_rows(file: Path, count: int, seconds: float = 2.0) -> None:
    """As much of prepared speech as is looked at before a run: its rows, of what words, by whom, how long."""
    ids = [f"{index}" for index in range(count)]
    columns = {"id": ids, "speaker": ids, "text": ["un dous tres"] * count, "duration": [seconds] * count}
    pq.write_table(pa.table(columns), file)


def changed(file: Path, *overrides: str, check_files: bool = True) -> ExperimentFile:
    return load(file, overrides, check_files)


def problems(file: Path, overrides: Sequence[str]) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        load(file, overrides)
    return caught.value.problems
