"""The most memory that a worker takes: of its GPU, or of its process."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import psutil
import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_KEPT_FREE = 0.1


class Memory:
    """Measures from one `reset` to the next; on a CPU only on Linux."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def reset(self) -> None:
        """Start a new measurement."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
        elif _CLEAR.exists():
            _give_back()
            _CLEAR.write_text("5")  # resets the peak

    def peak(self) -> float | None:
        """Return the gigabytes at the most since then; None where unknown."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_reserved(self._device) / 1e9
        kibibytes = re.search(r"^VmHWM:\s*(\d+)", _STATUS.read_text(), re.MULTILINE) if _STATUS.exists() else None
        return int(kibibytes[1]) * 1024 / 1e9 if kibibytes else None

    def room(self, workers: int) -> float:
        """Return the gigabytes that this worker's peak may reach, where so many of a CPU's share what is free."""
        if self._device.type == "cuda":
            share = torch.cuda.get_per_process_memory_fraction(self._device)
            return share * torch.cuda.get_device_properties(self._device).total_memory / 1e9
        memory = psutil.virtual_memory()
        free = max(0.0, memory.available - _KEPT_FREE * memory.total)
        return (psutil.Process().memory_info().rss + free / workers) / 1e9


def _give_back() -> None:
    """Return free memory to the system: what the C library keeps would hide what is measured next."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # of glibc alone
        libc.malloc_trim(0)
