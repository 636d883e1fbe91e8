"""Ray Train's few functions, stood in for: a worker's loop runs in this process, and what it trains is real."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.train
import ray.train.collective
import torch


class Session:
    """What Ray Train would have kept: reports, and checkpoints by their step's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports: list[dict[str, Any]] = []
        self.saved: list[str] = []
        self.checkpoint: ray.train.Checkpoint | None = None

    def report(self, metrics: dict[str, Any], checkpoint: Any = None, checkpoint_dir_name: str | None = None) -> None:
        self.reports.append(metrics)
        if checkpoint:
            shutil.copytree(checkpoint.path, self.folder / checkpoint_dir_name)
            self.saved.append(checkpoint_dir_name)

    def resume_from(self, name: str) -> None:
        self.checkpoint = ray.train.Checkpoint.from_directory(self.folder / name)

    def steps(self, key: str = "step") -> list[int]:
        return [report["step"] for report in self.reports if key in report]

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From here on, this session is the worker's."""
        alone = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1, get_local_world_size=lambda: 1)
        monkeypatch.setattr(ray.train, "get_context", lambda: alone)
        monkeypatch.setattr("ray.train.collective.barrier", lambda: None)
        monkeypatch.setattr("ray.train.torch.get_device", lambda: torch.device("cpu"))
        monkeypatch.setattr("ray.util.get_current_placement_group", lambda: None)
        monkeypatch.setattr(ray.train, "report", self.report)
        monkeypatch.setattr(ray.train, "get_checkpoint", lambda: self.checkpoint)
