"""Whether a model trained on short encoder contexts is as good at the full one; run with -m benchmark -s.

Whisper base on real speech: each way of training over the same seeds, steps and batches, then dev decoded at the full
context and at the batch's own. It takes an hour on two cores: RAYWCE_QUALITY names a folder that keeps what is done.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raywce.data.store import Utterances, open_split
from raywce.evaluation.decode import encoder_context, evaluate_utterances
from raywce.evaluation.rates import rates_by_language
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.utterances import to_table
from raywce.model import load_tokenizer
from raywce.training.optimizer import set_learning_rate
from tests.benchmarks.real_training import LANGUAGES, Training
from tests.speech import WHISPER, folder_of

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(6 * 3600)]

SEEDS = (0, 1, 2)
STEPS, BATCH_SIZE, WARMUP = 20, 8, 2
PEAK = 2e-5
WAYS: dict[str, dict[str, Any]] = {
    "full": {"length": "full"},
    "batch": {"length": "batch", "margin": 1.0},
}
CONTEXTS = ("full", "batch")


def train(folder: Path, way: dict[str, Any], seed: int) -> Training:
    training = Training(folder, BATCH_SIZE, STEPS, precision="bf16", seed=seed, duration_window=4, context=way)
    for number, batch in enumerate(training.loader.batches(0)):
        rate = PEAK * min((number + 1) / WARMUP, (STEPS - number) / (STEPS - WARMUP))
        set_learning_rate(training.optimizer, rate)
        training.step(batch, number)
    return training


def dev_wers(training: Training, dev: Utterances, length: str) -> dict[str, float]:
    """Percent by language."""
    settings = DecodeSettings(batch_size=BATCH_SIZE, precision="bf16", encoder_context=length)
    context = encoder_context(training.log_mel, settings)

    def features(indices: list[int]) -> torch.Tensor:
        frames = context.frames(max(float(dev.durations[index]) for index in indices))
        return training.log_mel.of([dev.audio(index) for index in indices], frames)

    rows = evaluate_utterances(
        training.model,
        load_tokenizer(str(folder_of(WHISPER))),
        dev,
        features,
        settings,
    )
    return {language: 100 * rate.wer_normalized for language, rate in rates_by_language(to_table(rows)).items()}


def result(folder: Path, way: str, seed: int, kept: dict[str, Any], path: Path) -> dict[str, dict[str, float]]:
    """WER by context and language, from the file where it is there."""
    key = f"{way}/{seed}"
    if key not in kept:
        training = train(folder, WAYS[way], seed)
        dev = open_split(folder / "prepared", "dev", LANGUAGES, folder / "cache")
        kept[key] = {length: dev_wers(training, dev, length) for length in CONTEXTS}
        path.write_text(json.dumps(kept, indent=1))
        print(f"\n{key}: {kept[key]}", end="", flush=True)
    return kept[key]


def test_short_contexts_cost_no_more_than_seeds_differ(tmp_path: Path) -> None:
    folder = Path(os.environ.get("RAYWCE_QUALITY", tmp_path))
    path = folder / "wers.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    by_seed = [{way: result(folder, way, seed, kept, path) for way in WAYS} for seed in SEEDS]
    wers = {way: [one[way] for one in by_seed] for way in WAYS}
    names = ["ca", *sorted(set(LANGUAGES) - {"ca"})]
    table = {
        (way, length): np.array([[one[length][name] for name in names] for one in runs])
        for way, runs in wers.items()
        for length in CONTEXTS
    }
    print(f"\n\ndev WER in %, mean and standard deviation over {len(SEEDS)} seeds\n{'trained':8}{'decoded':9}", end="")
    print(*(f"{name:>14}" for name in names), sep="")
    for (way, length), values in table.items():
        cells = zip(values.mean(0), values.std(0, ddof=1), strict=True)
        print(f"{way:8}{length:9}", *(f"{mean:8.2f} ± {spread:4.2f}" for mean, spread in cells), sep="")
    spread = np.sqrt(table["full", "full"].var(0, ddof=1) + table["batch", "full"].var(0, ddof=1))
    difference = table["batch", "full"].mean(0) - table["full", "full"].mean(0)
    print(f"batch - full at full context: {difference.round(2)}, standard deviation of a seed: {spread.round(2)}")
    assert difference.mean() <= max(1.0, 2 * spread.mean())
