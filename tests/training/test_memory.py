from __future__ import annotations

import ctypes

import psutil
import pytest
import torch

from raywce.training.memory import OutOfMemory, explained, is_out_of_memory, return_freed

SAID = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has …"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to …"),
    MemoryError(),
]
OTHERS = [
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("out of memory"),
]


@pytest.mark.parametrize("error", SAID, ids=str)
def test_memory_that_ran_out_is_said_with_what_to_lower(error: Exception) -> None:
    assert is_out_of_memory(error)
    said = pytest.raises(OutOfMemory, match=r"^out of memory in a step of 16: .*\. Lower the batch$")
    with said, explained("a step of 16", "Lower the batch"):
        raise error


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_pass(error: Exception) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as passed, explained("a step", "Lower it"):
        raise error
    assert passed.value is error


def test_a_processor_that_can_not_allocate_is_known() -> None:
    with pytest.raises(OutOfMemory), explained("a step", "Lower it"):
        torch.empty(1 << 60)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library than glibc")
def test_what_was_freed_is_returned_to_the_system() -> None:
    size, count = 64 * 1024, 4000  # a block of glibc's heap, which keeps it

    def resident() -> int:
        return psutil.Process().memory_info().rss

    blocks = [bytearray(size) for _ in range(count)]
    full = resident()
    kept = blocks[::50]  # so that the heap's end stays where it is
    del blocks
    return_freed()
    assert full - resident() > 0.8 * size * count
    assert len(kept) == count / 50
