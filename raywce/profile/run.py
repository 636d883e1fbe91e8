"""Run of the profile's training on the cluster, as a search would, with the time around it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import ray

from raywce.cluster.capacity import at_once_on_a_node, driver_resources
from raywce.cluster.connect import alive_nodes
from raywce.errors import RunFailed
from raywce.experiment.schema import Experiment
from raywce.profile.measured import Measured
from raywce.runs.folder import RunFolder
from raywce.storage.files import delete_folder
from raywce.training.trial import runner

if TYPE_CHECKING:
    from raywce.training.session import Session

NAME = "profile"


def profile_training(experiment: Experiment, folder: RunFolder, seconds: float, connect_s: float) -> Measured:
    """Profile a training on the connected cluster; what it writes into the storage is removed.

    With one worker a training, as many run at once as the search would run on that node: they share its processors'
    caches, its memory and its disk. The first one's figures count.

    Args:
        experiment: with a value in every leaf.
        folder: in which a search would write.
        seconds: that measuring may take; slow steps take longer.
        connect_s: seconds until the cluster was there.

    Raises:
        RunFailed: the training can't be done.
    """
    delete_folder(folder.path(NAME))
    nodes, resources, at_once = alive_nodes(), driver_resources(experiment.resources), 1
    if experiment.resources.alone:
        at_once, place = at_once_on_a_node(experiment, nodes)
        resources[place] = 0.001
    cpus, gpus = resources.pop("cpu"), resources.pop("gpu", 0)
    # In processes of their own, as Tune runs its trials: starting one is part of what a trial takes.
    drive = ray.remote(num_cpus=cpus, num_gpus=gpus, resources=resources, max_retries=0)(_drive)
    start = time.monotonic()
    try:
        of_experiment = experiment.model_dump()
        tasks = [
            drive.remote(of_experiment, folder.uri, f"{NAME}/{number}", seconds, at_once) for number in range(at_once)
        ]
        figures, _ = ray.get(tasks[0])
        took = time.monotonic() - start
        done, absent = ray.wait(tasks, num_returns=at_once, timeout=seconds)
        for one in absent:  # others' work may hold their room
            ray.cancel(one, force=True)
        problem = next(filter(None, (why_not for _, why_not in ray.get(done))), "")
    finally:
        delete_folder(folder.path(NAME))
    if problem:
        raise RunFailed(problem)
    around_s = took - figures.pop("worker_s")
    around = {
        "experiment": experiment.model_dump(mode="json"),
        "nodes": [{name: node.get(name, 0.0) for name in ("CPU", "GPU")} for node in nodes],
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "connect_s": connect_s,
        "around_s": around_s,
    }
    return Measured.of(around | figures)


def _drive(
    experiment: Mapping[str, object], folder: str, name: str, seconds: float, at_once: int
) -> tuple[Mapping[str, object], str]:
    """Return the figures, or why there are none."""

    def raywce_profile(config: Mapping[str, object], session: Session) -> None:
        from raywce.profile.worker import profile_worker

        profile_worker(config, session, seconds, at_once)

    of_trial = Experiment.model_validate(experiment)
    try:
        last = runner(of_trial.resources)(of_trial, folder, name, worker=raywce_profile)
        return last.profile or {}, ""
    except RunFailed as error:
        return {}, str(error)
