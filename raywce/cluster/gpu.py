"""A worker's GPU: its share of the memory, and how torch allocates there."""

from __future__ import annotations

import os

import torch

_SETTINGS, _OLD_NAME = "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"


def allocator_settings() -> dict[str, str]:
    """Return the environment of a process that allocates on a GPU: what the user has set in this one's, if anything.

    Batches differ in length: memory in segments that grow fits all of them, where fixed ones leave gaps. torch reads it
    as it opens the GPU.
    """
    given = {name: os.environ[name] for name in (_SETTINGS, _OLD_NAME) if name in os.environ}
    return given or {_SETTINGS: "expandable_segments:True"}


def device_of(gpus: float) -> torch.device:
    """Return the device of a worker that has so many GPUs: Ray shows it no others."""
    return torch.device("cuda", 0) if gpus else torch.device("cpu")


def limit_memory(gpus: float) -> None:
    """Keep this process within its share of the GPU's memory, where `gpus` is a share: others are on the same GPU."""
    if 0 < gpus < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpus)
