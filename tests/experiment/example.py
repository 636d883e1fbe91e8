"""A small experiment file with everything it names, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raywce.errors import InputError, Problem
from raywce.experiment.load import ExperimentFile, load

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
    """Write the file, and empty stand-ins of the speech and of the checkpoint that it names."""
    for split in ("train", "dev", "test"):
        for language in ("gl", "es", "pt"):
            part = folder / "prepared" / split / language
            part.mkdir(parents=True)
            write_rows(part / "0.parquet", 2)
    checkpoint = folder / "whisper"
    checkpoint.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (checkpoint / name).write_text("{}")
    tokens = {f"<|{code}|>": index for index, code in enumerate(("gl", "es", "pt", "en"))}
    (checkpoint / "generation_config.json").write_text(json.dumps({"lang_to_id": tokens}))
    file = folder / "example.yaml"
    file.write_text(FILE.replace("CHECKPOINT", str(checkpoint)).replace("DATA", str(folder / "prepared")))
    return file


def write_rows(file: Path, count: int) -> None:
    """As much of prepared speech as is looked at before a run: how many rows it has, of what words, by whom."""
    ids = [f"{index}" for index in range(count)]
    pq.write_table(pa.table({"id": ids, "speaker": ids, "text": ["un dous tres"] * count}), file)


def changed(file: Path, *overrides: str, check_files: bool = True) -> ExperimentFile:
    return load(file, overrides, check_files)


def problems(file: Path, overrides: Sequence[str]) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        load(file, overrides)
    return caught.value.problems
