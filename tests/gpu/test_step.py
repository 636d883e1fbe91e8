"""A step on the GPU is the CPU's, in each precision; fp16's scaler does what it should."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from raywce.training.step import NotFiniteError
from tests.gpu.small import Small, off

pytestmark = pytest.mark.gpu
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("adaptive", "accumulation", "context"), [(False, 1, "full"), (True, 1, "full"), (True, 2, "batch")]
)
def test_loss_and_gradient_are_the_cpus(
    inputs: Path, device: torch.device, adaptive: bool, accumulation: int, context: str
) -> None:
    distances = {}
    for precision in ("fp32", "tf32"):
        cpu, own = (
            Small(inputs, of, name, accumulation, adaptive, context)
            for of, name in ((CPU, "fp32"), (device, precision))
        )
        batch = cpu.batches()[0]
        expected, result = (one.stepper.gradients(batch, 0).read() for one in (cpu, own))
        bound = 1e-3 if precision == "fp32" else 2e-2
        assert result.losses == pytest.approx(expected.losses, rel=bound)
        assert result.alphas == pytest.approx(expected.alphas, rel=bound)
        distances[precision] = off(own.gradient(), cpu.gradient())
        assert distances[precision] < bound
    if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8:
        assert distances["fp32"] < distances["tf32"] / 3, "fp32 is fp32, and tf32 is not"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_near_fp32(inputs: Path, device: torch.device, precision: str) -> None:
    expected = Small(inputs, device).train()
    own = Small(inputs, device, precision, accumulation=2)
    assert own.train() == pytest.approx(expected, rel=0.02)
    assert all(parameter.dtype == torch.float32 for parameter in own.model.parameters())


def test_gradients_that_overflow_leave_a_step_out_and_halve_the_scale(inputs: Path, device: torch.device) -> None:
    small = Small(inputs, device, "fp16")
    assert small.scaler
    small.train(last=1)
    before, scale = small.weights(), 2.0**60
    small.scaler.load_state_dict(small.scaler.state_dict() | {"scale": scale})
    unread = small.stepper.gradients(small.batches()[1], 1)
    assert not unread.read(small.update()).updated
    assert torch.equal(small.weights(), before)
    assert small.scaler.get_scale() == scale / 2
    assert {float(state["step"]) for state in small.optimizer.state.values()} == {1.0}, "it is none for AdamW"


def test_a_loss_that_overflows_ends_the_training(inputs: Path, device: torch.device) -> None:
    small = Small(inputs, device, "fp16")
    with torch.no_grad():
        small.model.model.decoder.layer_norm.weight.mul_(1e6)
    with pytest.raises(NotFiniteError, match="the loss must be finite"):
        small.stepper.gradients(small.batches()[0], 0).read()
