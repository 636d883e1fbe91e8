"""Memory that runs out in a training: known by its errors, and said with what to lower."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from raywce.errors import RunFailed, first_sentence

# What torch, CUDA's libraries and NCCL say. A library that can't be initialised had no memory for its workspace.
_TEXTS = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "ALLOCATION_FAILED",
    "can't allocate memory",
)


class OutOfMemory(RunFailed):
    """Error of a worker that had too little memory: the same training would fail again."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, of a GPU or of the machine."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _TEXTS)


@contextmanager
def explained(doing: str, do: str) -> Iterator[None]:
    """Raise an `OutOfMemory` where memory runs out in the block, with what was being done and what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"out of memory in {doing}: {first_sentence(error)}. {do}") from error


def return_freed() -> None:
    """Give the system back what was freed: glibc keeps it for the process, in pieces that the next shapes don't fit in.

    Whisper base on a CPU, with batches of many lengths: 3 GB more with each training in one process.
    """
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's own
        trim(0)
