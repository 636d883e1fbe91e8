"""What a training step costs above a bare one of transformers; run with -m benchmark -s."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest
import torch

from raywce.data.loader import StepBatch
from raywce.model import load_model
from raywce.training.optimizer import make_optimizer
from tests.benchmarks.real_training import SETTINGS, Training
from tests.speech import WHISPER, folder_of

BATCH_SIZE, PAIRS = 4, 5
BOUND = 1.05


def bare_step(training: Training) -> Callable[[StepBatch], Callable[[], None]]:
    """Forward, backward and AdamW by transformers and torch alone, on features that are there already."""
    model = load_model(str(folder_of(WHISPER)))
    optimizer = make_optimizer(model, SETTINGS)

    def prepare(batch: StepBatch) -> Callable[[], None]:
        (micro_batch,) = batch.micro_batches
        with torch.no_grad():
            features = training.log_mel(micro_batch.waveforms)

        def step() -> None:
            model(input_features=features, labels=micro_batch.labels, use_cache=False).loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step

    return prepare


def seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


@pytest.mark.benchmark
def test_a_step_costs_at_most_five_percent_more_than_a_bare_one(tmp_path: Path) -> None:
    training = Training(tmp_path, BATCH_SIZE, steps=1 + PAIRS)
    bare = bare_step(training)
    ratios = []
    for number, batch in enumerate(training.loader.batches(0)):
        bare_one = bare(batch)
        steps = {"own": lambda batch=batch, number=number: training.step(batch, number), "bare": bare_one}
        order = sorted(steps, reverse=number % 2 == 0)  # each goes first in turn
        took = {name: seconds(steps[name]) for name in order}
        if number:  # the first pair makes the optimizers' states
            ratios.append(took["own"] / took["bare"])
            print(f"\n{took['own']:.2f} s own, {took['bare']:.2f} s bare, ratio {ratios[-1]:.3f}", end="")
    print(f"\ntraining step, own over bare: {median(ratios):.3f}, median of {PAIRS}; {torch.get_num_threads()} threads")
    assert median(ratios) <= BOUND
