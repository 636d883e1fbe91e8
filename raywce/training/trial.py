"""One trial on the cluster: Ray Train's workers around `raywce.training.loop`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import ray
import ray.train
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, UserCallback
from ray.util.queue import Queue

from raywce.cluster.gpu import allocator_settings
from raywce.cluster.trainer import TrainerFailed, fit, make_trainer, message_queue
from raywce.errors import RunFailed
from raywce.experiment.schema import Experiment, Resources
from raywce.storage import files
from raywce.training.memory import OutOfMemory, return_freed
from raywce.trial_report import OBJECTIVE, Report

if TYPE_CHECKING:
    from raywce.training.session import Session

WorkerFunction = Callable[[Mapping[str, object], "Session"], None]
TrialRunner = Callable[..., Report]


class TrialFailed(RunFailed):
    """Error of a trial whose training can't be finished; the message is its reason, in one line."""


class _Forward(UserCallback):  # type: ignore[misc]
    """Callback in Ray Train's controller: passes rank 0's reports to the driver, and counts restarts.

    A worker that had too little memory ends the training: it would again.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.restarts = 0

    def after_report(
        self, run_context: object, metrics: list[dict[str, object]], checkpoint: Checkpoint | None
    ) -> None:
        report = replace(
            Report.of(metrics[0]),
            restarts=self.restarts,
            controller_id=ray.get_runtime_context().get_actor_id(),
            checkpoint=checkpoint.path if checkpoint else None,
        )
        self.queue.put(report)

    def after_exception(self, run_context: object, worker_exceptions: dict[int, Exception]) -> None:
        self.restarts += 1
        for error in worker_exceptions.values():
            if isinstance(error, OutOfMemory):
                raise error  # Ray Train starts lost workers again, but ends a run with a callback's error


def _train(config: Mapping[str, object], session: Session) -> None:
    # Imported in the worker alone: driver and controller, one of each a trial, do without transformers.
    from raywce.training.loop import train_worker

    train_worker(config, session)


@dataclass
class _Received:
    """The last report; each is passed on, but a failure ends the trial."""

    on_report: Callable[[Report], None] | None
    last: Report = field(default_factory=Report)

    def __call__(self, report: Report) -> None:
        if report.failure:
            raise TrialFailed(report.failure)
        self.last = report
        if self.on_report:
            self.on_report(report)


def run_trial(
    experiment: Experiment,
    folder: str,
    name: str,
    on_report: Callable[[Report], None] | None = None,
    worker: WorkerFunction = _train,
) -> Report:
    """Fine-tune and evaluate, as `experiment` says; resume from the last checkpoint of the same folder and name.

    Args:
        experiment: with a value in every leaf.
        folder: path or URI that all nodes share; the trial's own folder is `<folder>/<name>`.
        name: of the trial.
        on_report: called in this process and thread with each report, in order. After a lost worker, steps are done
            and reported again: a later report of a step replaces the earlier one.
        worker: what Ray Train's workers do.

    Returns:
        The last report.

    Raises:
        RunFailed: the loss was not finite, memory ran out, or the workers were lost more often than
            `training.max_failures`.
    """
    _update_record(f"{folder}/{name}")
    queue, received = message_queue(), _Received(on_report)

    def raywce_worker(config: Mapping[str, object]) -> None:
        from raywce.training.session import RayTrain

        worker(config, RayTrain())

    run_config = RunConfig(
        name=name,
        storage_path=folder,
        failure_config=FailureConfig(max_failures=experiment.training.max_failures),
        checkpoint_config=CheckpointConfig(
            num_to_keep=1, checkpoint_score_attribute=OBJECTIVE, checkpoint_score_order="min"
        ),
        callbacks=[_Forward(queue)],
    )
    trainer = make_trainer(raywce_worker, _config(experiment, folder, name), experiment.resources, run_config)
    try:
        fit(trainer, queue, received)
    except TrainerFailed as error:
        raise TrialFailed(str(error)) from error
    return received.last


def run_alone(
    experiment: Experiment,
    folder: str,
    name: str,
    on_report: Callable[[Report], None] | None = None,
    worker: WorkerFunction = _train,
) -> Report:
    """Do as `run_trial` in this process, which is the only worker; a process that takes its place resumes.

    Nothing is started for it, where Ray Train starts a controller, helpers and a worker.

    Raises:
        RunFailed: the loss was not finite, or memory ran out.
    """
    from raywce.training.session import Alone

    if experiment.resources.gpus_per_worker:
        os.environ.update(allocator_settings())
    received = _Received(on_report)
    try:
        worker(_config(experiment, folder, name), Alone(f"{folder}/{name}", experiment.resources, received))
    except OSError as error:  # of the storage: the driver knows by the text whether it passes
        raise TrialFailed(f"{type(error).__name__}: {error}") from error
    finally:
        return_freed()  # the next trial in this process needs the memory
    return received.last


def runner(resources: Resources) -> TrialRunner:
    """Return what runs a trial from a process that has `raywce.cluster.capacity.driver_resources`."""
    return run_alone if resources.alone else run_trial


def _config(experiment: Experiment, folder: str, name: str) -> dict[str, object]:
    return {"experiment": experiment.model_dump(), "folder": f"{folder}/{name}"}


def _update_record(folder: str) -> None:
    """Take checkpoints that were removed out of Ray Train's list: the training resumes from the last that is left.

    A list that was cut off, as Ray Train writes it in place, is deleted, and the training begins at the first step.
    """
    place = f"{folder}/checkpoint_manager_snapshot.json"
    if not files.exists(place):
        return
    try:
        record = json.loads(files.read_text(place))
    except ValueError:
        files.delete_file(place)
        return
    there = {one.base_name for one in files.entries(folder)}
    listed = list(zip(record["checkpoint_results"], record["checkpoint_report_indices"], strict=True))
    kept = [(result, index) for result, index in listed if result["checkpoint_dir_name"] in there]
    if not kept:
        files.delete_file(place)
    elif len(kept) < len(listed):
        results, indices = (list(column) for column in zip(*kept, strict=True))
        latest = results[indices.index(max(indices))]
        left = {"checkpoint_results": results, "checkpoint_report_indices": indices, "latest_checkpoint_result": latest}
        files.write_text(place, json.dumps(record | left))
