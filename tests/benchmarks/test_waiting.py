"""How long a training step waits for its data; run with -m benchmark -s."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.benchmarks.real_training import Training

BATCH_SIZE, STEPS = 4, 6
BOUND = 0.05


@pytest.mark.benchmark
def test_less_than_five_percent_of_a_step_is_waiting_for_data(tmp_path: Path) -> None:
    training = Training(tmp_path, BATCH_SIZE, STEPS)
    batches = training.loader.batches(0)
    waited = []
    start = time.perf_counter()
    for number in range(STEPS):
        asked = time.perf_counter()
        batch = next(batches)
        waited.append(time.perf_counter() - asked)
        training.step(batch, number)
    total = time.perf_counter() - start
    share = sum(waited) / total
    print(
        f"\nwaiting for data: {100 * share:.2f} % of {STEPS} steps, {total / STEPS:.2f} s a step; "
        f"first batch {waited[0]:.3f} s, the others {max(waited[1:]):.4f} s at most"
    )
    assert share < BOUND
