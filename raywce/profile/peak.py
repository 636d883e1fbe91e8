"""A device's largest matrix products, and how many operations a step takes: what is left of the one for the other."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from raywce.precision import AUTOCAST_DTYPES, products
from raywce.profile.parts import now

_ON_GPU, _ON_CPU = 8192, 1024  # rows and columns: enough that the device is busy
_TIMES = 5


def matrix_peak(device: torch.device, precision: str) -> float:
    """Return the floating-point operations a second of large products, by the threads that torch has.

    Args:
        device: that computes.
        precision: of a training, but not `auto`.
    """
    size = _ON_GPU if device.type == "cuda" else _ON_CPU
    dtype = AUTOCAST_DTYPES.get(precision, torch.float32)
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    with products(precision):
        for _ in range(1 + _TIMES):
            began = now(device)
            one @ other
            seconds.append(now(device) - began)
    return 2 * float(size) ** 3 / median(seconds[1:])


def operations(step: Callable[[], object]) -> float:
    """Return the floating-point operations of the products and attention in what is called, its backward pass too."""
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())
