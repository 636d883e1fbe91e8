from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.gpu.small import write_inputs

DRY = "RAYWCE_GPU_TESTS_DRY"


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The GPU; with RAYWCE_GPU_TESTS_DRY=1 the CPU, to see that the checks themselves run."""
    if os.environ.get(DRY) == "1":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pytest.skip(f"no CUDA device here ({DRY}=1 runs the same code on the CPU)")
    return torch.device("cuda", 0)


@pytest.fixture(scope="session")
def inputs(device: torch.device, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Whisper, wider on a GPU, and some speech."""
    return write_inputs(tmp_path_factory.mktemp("gpu"), width=16 if device.type == "cpu" else 256)


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    pass
