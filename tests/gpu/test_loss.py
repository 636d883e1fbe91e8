"""The chunked loss is `F.cross_entropy` on the GPU too, and takes less memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from raywce.loss import token_losses
from raywce.precision import computing
from tests.gpu.small import off

pytestmark = pytest.mark.gpu


def plain(hidden: Tensor, vocabulary: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(hidden @ vocabulary.T, labels, reduction="none")


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("bf16", 2e-2), ("fp16", 3e-3)])
def test_the_chunked_loss_is_cross_entropy(device: torch.device, precision: str, bound: float) -> None:
    rows, width, words = (300, 16, 500) if device.type == "cpu" else (1000, 768, 51_865)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, width, generator=generator).to(device)
    vocabulary = 0.05 * torch.randn(words, width, generator=generator).to(device)
    labels = torch.randint(words, (rows,), generator=generator).to(device)
    weights = torch.rand(rows, generator=generator).to(device)
    found, peaks = [], []
    for losses_of, name in ((token_losses, precision), (plain, "fp32")):
        one, other = hidden.clone().requires_grad_(), vocabulary.clone().requires_grad_()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
        with computing(name, device):
            losses = losses_of(one, other, labels)
        (losses * weights).sum().backward()
        peaks.append(torch.cuda.max_memory_allocated() - before if device.type == "cuda" else 0)
        found.append((losses, one.grad, other.grad))
    for own, expected in zip(*found, strict=True):
        assert off(own, expected) < bound
    assert peaks[0] < peaks[1] or device.type == "cpu"
