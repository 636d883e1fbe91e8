"""A worker's session that keeps reports and checkpoints: what it trains is real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from raywce.runs.folder import checkpoint_name
from raywce.trial_report import Report


class Session:
    """A single worker's, with all checkpoints by their step's folder."""

    rank, workers, neighbours = 0, 1, 1
    device = torch.device("cpu")

    def __init__(self, folder: Path, resumed: Path | None = None) -> None:
        self.folder, self.resumed = folder, resumed
        self.reports: list[dict[str, Any]] = []
        self.saved: list[str] = []

    def wait_for_all(self) -> None:
        pass

    @contextmanager
    def checkpoint(self) -> Iterator[tuple[Path, str] | None]:
        yield (self.resumed, self.resumed.name) if self.resumed else None

    def report(self, report: Report, save: Callable[[Path], object] | None = None) -> None:
        self.reports.append(report.flat())
        if save:
            name = checkpoint_name(report.step)
            (self.folder / name).mkdir(parents=True)
            save(self.folder / name)
            self.saved.append(name)

    def steps(self, key: str = "step") -> list[int]:
        return [report["step"] for report in self.reports if key in report]
