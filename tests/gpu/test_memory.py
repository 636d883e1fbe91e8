"""Memory of a GPU that runs out is known as such."""

from __future__ import annotations

import pytest
import torch

from raywce.cluster.gpu import limit_memory
from raywce.training.memory import OutOfMemory, explained

pytestmark = pytest.mark.gpu


def test_a_process_stays_within_its_share(device: torch.device) -> None:
    whole = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 1 << 62
    limit_memory(0.25)
    try:
        with pytest.raises(OutOfMemory, match=r"^out of memory in a step: "), explained("a step", "Lower the batch"):
            torch.empty(whole // 2, dtype=torch.uint8, device=device)
    finally:
        if device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
