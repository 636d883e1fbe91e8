"""Precisions of training and decoding: what `auto` is on a device, and how products are rounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp16")
AUTOCAST_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}  # of mixed precisions; the others have no autocast
_AMPERE = 8  # the first compute capability with bf16 and TF32 in its tensor cores
_CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # Intel's and AMD's, and ARM's


def resolved(precision: str, device: torch.device) -> str:
    """Return a precision as it is; `auto` is bf16 where the card or processor computes in it natively, else fp32."""
    if precision != "auto":
        return precision
    return "bf16" if _has_bf16(device) else "fp32"


def shortcoming(precision: str, device: torch.device) -> str | None:
    """Return what the card lacks for a precision, and what to take instead; None where it lacks nothing."""
    if device.type != "cuda" or precision not in ("bf16", "tf32") or _capability(device)[0] >= _AMPERE:
        return None
    card = f"{torch.cuda.get_device_name(device)} (compute capability {'.'.join(map(str, _capability(device)))})"
    if precision == "bf16":
        return f"{card} only emulates bf16, slowly: take fp16 or fp32"
    return f"{card} has no TF32: tf32 is fp32 there"


@contextmanager
def computing(precision: str, device: torch.device) -> Iterator[None]:
    """Compute the block, a forward pass, in a precision other than `auto`: its products, and its autocast."""
    dtype = AUTOCAST_DTYPES.get(precision)
    with products(precision), torch.autocast(device.type, dtype, enabled=dtype is not None):
        yield


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Let CUDA round float32 products and convolutions to TF32 in the block, for `tf32`; for others, never.

    torch's own default rounds convolutions. Its switches are those of the process: a thread beside sees them too.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return _capability(device)[0] >= _AMPERE
    file = Path("/proc/cpuinfo")
    return file.exists() and not _CPU_FLAGS.isdisjoint(file.read_text(encoding="utf-8").split())
