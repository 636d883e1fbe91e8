"""Runs the profile's training on the cluster, as a search would, and measures what is around it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import ray
from pyarrow import fs

from raywce.cluster import alive_nodes
from raywce.errors import RunFailed
from raywce.experiment.schema import Experiment
from raywce.profile.measured import Measured
from raywce.room import driver_resources
from raywce.run_folder import RunFolder
from raywce.training.trial import TrialFailed, run_trial

NAME = "profile"
Report = dict[str, Any]


def profile_training(experiment: Experiment, folder: RunFolder, seconds: float, connect_s: float) -> Measured:
    """Profile a training on the connected cluster; what it writes into the storage is removed.

    Args:
        experiment: with a value in every leaf.
        folder: in which a search would write.
        seconds: that measuring may take; slow steps take longer.
        connect_s: seconds until the cluster was there.

    Raises:
        RunFailed: the training can't be done.
    """
    _remove(folder)
    resources = driver_resources(experiment.resources)
    cpus = resources.pop("cpu")
    # In a process of its own, as Tune runs its trials: starting it is part of what a trial takes.
    drive = ray.remote(num_cpus=cpus, resources=resources, max_retries=0)(_drive)
    start = time.monotonic()
    try:
        report, problem = ray.get(drive.remote(experiment.model_dump(), folder.uri, seconds))
    finally:
        _remove(folder)
    if problem:
        raise RunFailed(problem)
    around = time.monotonic() - start - report["worker_s"]
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return Measured.of(experiment, alive_nodes(), report, when, connect_s=connect_s, around_s=around)


def _drive(experiment: Report, folder: str, seconds: float) -> tuple[Report, str]:
    """The last report, or why there is none."""
    try:
        return run_trial(Experiment.model_validate(experiment), folder, NAME, worker=_worker(seconds)), ""
    except TrialFailed as error:
        return {}, str(error)


def _worker(seconds: float) -> Callable[[Report], None]:
    def raywce_profile(config: Report) -> None:
        from raywce.profile.worker import profile_worker

        profile_worker(config, seconds)

    return raywce_profile


def _remove(folder: RunFolder) -> None:
    if folder.has(NAME):
        filesystem, path = fs.FileSystem.from_uri(folder.path(NAME))
        filesystem.delete_dir(path)
