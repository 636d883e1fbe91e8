"""Where the time of a step goes, and its share of the machine's measured matrix product; run with -m benchmark -s."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import pytest
import torch

from raywce.data.loader import StepBatch
from raywce.precision import AUTOCAST_DTYPES
from raywce.profile.peak import operations
from raywce.training.step import update
from tests.benchmarks.real_training import SETTINGS, Training
from tests.benchmarks.short_training import BATCH_SIZE, SECONDS, WINDOW

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(2 * 3600)]

STEPS = 5
LEAST = {"fp32": 0.6, "bf16": 0.5}


def processor_seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def peak(precision: str) -> float:
    """Floating-point operations a processor second of the encoder's largest product, at this precision."""
    dtype = AUTOCAST_DTYPES.get(precision, torch.float32)
    one, other = torch.randn(2400, 512).to(dtype), torch.randn(512, 2048).to(dtype)
    rates = [20 * 2 * 2400 * 512 * 2048 / processor_seconds(lambda: [one @ other for _ in range(20)]) for _ in range(5)]
    return median(rates)


def parts(training: Training, batch: StepBatch, number: int) -> dict[str, float]:
    """Processor seconds of a step, by what they went to."""
    (micro_batch,) = batch.micro_batches
    taken = {"log-mel": processor_seconds(lambda: training.log_mel(micro_batch.waveforms, batch.frames))}
    gradients = processor_seconds(lambda: training.stepper.gradients(batch, number))
    taken["forward and backward"] = gradients - taken["log-mel"]
    taken["clip and update"] = processor_seconds(
        lambda: update(training.model, training.optimizer, SETTINGS.max_gradient_norm)
    )
    return taken


@pytest.mark.parametrize("length", ["full", "batch"])
@pytest.mark.parametrize("precision", LEAST)
def test_the_share_of_the_measured_peak(tmp_path: Path, precision: str, length: str) -> None:
    steps = 1 + (STEPS if length == "batch" else 1)
    way = {"precision": precision, "duration_window": WINDOW, "context": {"length": length, "margin": 1.0}}
    training = Training(tmp_path, BATCH_SIZE, steps, seconds=SECONDS, **way)
    shares, taken = [], []
    for number, batch in enumerate(training.loader.batches(0)):
        counted = operations(partial(training.stepper.gradients, batch, number))
        training.optimizer.zero_grad()
        before = peak(precision)
        found = parts(training, batch, number)
        best = (before + peak(precision)) / 2  # measured on both sides of the step: the clock changes
        if number:  # the first step makes the optimizer's state
            taken.append(found)
            shares.append(counted / sum(found.values()) / best)
    print(f"\n{precision}, {length} context, batch {BATCH_SIZE}, {torch.get_num_threads()} threads:", end=" ")
    for name in taken[0]:
        print(f"{name} {median(one[name] / sum(one.values()) for one in taken):.1%}", end=", ")
    print(f"of {median(sum(one.values()) for one in taken):.2f} s of the processor a step;", end=" ")
    print(f"{best / 1e9:.0f} GFLOP/s measured peak, of which the step has {median(shares):.0%}")
    assert median(shares) >= LEAST[precision]
