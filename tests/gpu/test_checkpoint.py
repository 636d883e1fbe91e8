"""A training on the GPU resumes from its checkpoint, whose writing takes no memory there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from raywce.augmentation.augmenter import Augmenter
from raywce.training.checkpoint import TrainingState, load_state, load_weights, save_checkpoint
from tests.gpu.small import Small, off
from tests.gpu.test_augmentation import chain

pytestmark = pytest.mark.gpu


def augmenter() -> Augmenter:
    return Augmenter(chain(), None, 1)


def save(small: Small, folder: Path, inputs: Path) -> None:
    scaler = small.scaler.state_dict() if small.scaler else None
    state = TrainingState(3, small.optimizer.state_dict(), scaler, 1.0, {})
    save_checkpoint(folder, small.model, state, str(inputs / "model"), None)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_resumed_training_is_the_undisturbed_one(
    inputs: Path, device: torch.device, tmp_path: Path, precision: str
) -> None:
    whole, begun, resumed = (Small(inputs, device, precision, augmenter=augmenter()) for _ in range(3))
    start = whole.weights()
    whole.train()
    begun.train(last=3)
    save(begun, tmp_path, inputs)
    load_weights(resumed.model, tmp_path)
    state = load_state(tmp_path)
    resumed.optimizer.load_state_dict(state.optimizer)
    if resumed.scaler and state.scaler:
        resumed.scaler.load_state_dict(state.scaler)
    resumed.train(first=3)
    change = whole.weights() - start
    assert off(resumed.weights() - start, change) < (5e-2 if device.type == "cuda" else 1e-9)


def test_a_save_takes_no_memory_of_the_gpu(inputs: Path, device: torch.device, tmp_path: Path) -> None:
    small = Small(inputs, device)
    small.train(last=1)
    size = sum(value.nbytes for state in small.optimizer.state.values() for value in state.values())
    before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    save(small, tmp_path, inputs)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    assert peak - before <= 0.05 * size
