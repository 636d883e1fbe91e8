"""What a worker has around it: its rank and device, the checkpoint that it resumes from, and where its reports go."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import ray.train
import ray.train.collective
import ray.train.torch
import torch
from pyarrow import fs

from raywce.cluster.gpu import device_of
from raywce.experiment.schema import Resources
from raywce.runs.folder import CHECKPOINT, STATE_FILE, checkpoint_name
from raywce.storage import files
from raywce.storage.failures import patiently
from raywce.trial_report import Report


class Session(Protocol):
    """What the set-up of a worker asks for.

    Attributes:
        rank: of this worker.
        workers: how many there are.
        neighbours: how many of them are on this node.
        device: that it computes on.
    """

    rank: int
    workers: int
    neighbours: int
    device: torch.device

    def wait_for_all(self) -> None:
        """Return once all workers have come here; nodes may take minutes to copy their speech."""

    def checkpoint(self) -> AbstractContextManager[tuple[Path, str] | None]:
        """Give in a block the checkpoint to resume from, as a folder on this machine and its name; None without one."""

    def report(self, report: Report, save: Callable[[Path], object] | None = None) -> None:
        """Give a report to the driver, with a checkpoint that `save` writes into a folder; each worker calls it."""


class RayTrain:
    """A worker of Ray Train's."""

    def __init__(self) -> None:
        context = ray.train.get_context()
        self.rank, self.workers = context.get_world_rank(), context.get_world_size()
        self.neighbours = context.get_local_world_size()
        self.device = ray.train.torch.get_device()

    def wait_for_all(self) -> None:
        """Return once all workers have come here."""
        # Not by the process group, which is there already and has a limit.
        ray.train.collective.barrier()

    @contextmanager
    def checkpoint(self) -> Iterator[tuple[Path, str] | None]:
        """Give the last checkpoint that the controller knows."""
        found = ray.train.get_checkpoint()
        if found is None:
            yield None
            return
        with found.as_directory() as folder:
            yield Path(folder), Path(found.path).name

    def report(self, report: Report, save: Callable[[Path], object] | None = None) -> None:
        """Give a report to the controller, which takes all ranks' at once."""
        group = ray.util.get_current_placement_group()
        flat = replace(report, placement_group_id=group.id.hex() if group else "").flat()
        name = checkpoint_name(report.step) if save else None
        if not (save and self.rank == 0):
            ray.train.report(flat, checkpoint_dir_name=name)
            return
        with tempfile.TemporaryDirectory() as temporary:
            save(Path(temporary))
            checkpoint = ray.train.Checkpoint.from_directory(temporary)
            ray.train.report(flat, checkpoint=checkpoint, checkpoint_dir_name=name)


class Alone:
    """A trial's only worker, in the process that drives the trial: nothing else is started for it.

    Ray Train would start a controller, four helpers and a worker, all of which import for seconds.
    """

    rank, workers, neighbours = 0, 1, 1

    def __init__(self, folder: str, resources: Resources, give: Callable[[Report], object]) -> None:
        """Take the trial's folder, a path or URI, and who is given its reports."""
        self._folder, self._give = folder, give
        self.device = device_of(resources.gpus_per_worker)

    def wait_for_all(self) -> None:
        """Return: there is no other."""

    @contextmanager
    def checkpoint(self) -> Iterator[tuple[Path, str] | None]:
        """Give the last whole checkpoint of the trial's folder."""
        name = next((name for name in reversed(self._names()) if files.exists(self._state(name))), None)
        if name is None:
            yield None
            return
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) if files.is_uri(self._folder) else Path(self._folder, name)
            if files.is_uri(self._folder):
                _download(f"{self._folder}/{name}", folder)
            yield folder, name

    def report(self, report: Report, save: Callable[[Path], object] | None = None) -> None:
        """Give a report to the driver, once its checkpoint is whole; then the earlier ones are deleted."""
        name = checkpoint_name(report.step)
        if save:
            with tempfile.TemporaryDirectory() as temporary:
                save(Path(temporary))
                _upload(Path(temporary), f"{self._folder}/{name}")
            report = replace(report, checkpoint=f"{self._folder}/{name}")
        self._give(report)
        for older in self._names() if save else ():
            if older != name:
                files.delete_folder(f"{self._folder}/{older}")

    def _names(self) -> list[str]:
        return sorted(one.base_name for one in files.entries(self._folder) if one.base_name.startswith(CHECKPOINT))

    def _state(self, name: str) -> str:
        return f"{self._folder}/{name}/{STATE_FILE}"


def _upload(folder: Path, place: str) -> None:
    """Copy a checkpoint; its state comes last: without it, the checkpoint is not whole."""
    for file in sorted(folder.iterdir(), key=lambda file: (file.name == STATE_FILE, file.name)):
        files.copy_file(str(file), f"{place}/{file.name}")


@patiently
def _download(place: str, folder: Path) -> None:
    filesystem, path = files.located(place)
    fs.copy_files(path, str(folder), filesystem, fs.LocalFileSystem())
