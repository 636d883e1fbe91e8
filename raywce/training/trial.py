"""Runs one trial on the cluster: Ray Train's TorchTrainer around `raywce.training.worker`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import ray
import ray.train
from pyarrow import fs
from ray.train import CheckpointConfig, FailureConfig, RunConfig, UserCallback
from ray.train.torch import TorchTrainer
from ray.util.queue import Queue

from raywce.errors import RunFailed
from raywce.experiment.schema import Experiment
from raywce.listening import TrainerFailed, fit, look_often, message_queue, worker_group

Report = dict[str, Any]
FAILURE = "failure"  # key of the report that ends a trial which can't succeed when tried again


class TrialFailed(RunFailed):
    """The training of a trial can't be finished; the message is its reason, in a line."""


class _Forward(UserCallback):  # type: ignore[misc]
    """Lives in Ray Train's controller: passes rank 0's reports to the driver, and counts restarts."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.restarts = 0

    def after_report(self, run_context: Any, metrics: list[Report], checkpoint: Any) -> None:
        report = metrics[0] | {
            "restarts": self.restarts,
            "controller_id": ray.get_runtime_context().get_actor_id(),
        }
        if checkpoint:
            report["checkpoint"] = checkpoint.path
        self.queue.put(report)

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        self.restarts += 1


def _train(config: Report) -> None:
    # Imported in the worker alone: driver and controller, one of each a trial, do without transformers.
    from raywce.training.worker import train_worker

    train_worker(config)


def run_trial(
    experiment: Experiment,
    folder: str,
    name: str,
    on_report: Callable[[Report], None] | None = None,
    worker: Callable[[Report], None] = _train,
) -> Report:
    """Fine-tune and evaluate, as `experiment` says; goes on from the last checkpoint of the same folder and name.

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
        TrialFailed: the loss was not finite, or the workers were lost more often than `training.max_failures`.
    """
    _drop_torn_record(f"{folder}/{name}")
    queue = message_queue()
    last: Report = {}

    def hear(report: Report) -> None:
        nonlocal last
        if FAILURE in report:
            raise TrialFailed(report[FAILURE])
        last = report
        if on_report:
            on_report(report)

    try:
        fit(_trainer(experiment, folder, name, _Forward(queue), worker), queue, hear)
    except TrainerFailed as error:
        raise TrialFailed(str(error)) from error
    return last


def _drop_torn_record(folder: str) -> None:
    """Ray Train writes its list of checkpoints in place: where that was cut off, the training begins anew."""
    filesystem, path = fs.FileSystem.from_uri(f"{folder}/checkpoint_manager_snapshot.json")
    if filesystem.get_file_info(path).type is fs.FileType.NotFound:
        return
    with filesystem.open_input_stream(path) as stream:
        text = bytes(stream.read())
    try:
        json.loads(text)
    except ValueError:
        filesystem.delete_file(path)


def _trainer(
    experiment: Experiment, folder: str, name: str, forward: _Forward, worker: Callable[[Report], None]
) -> TorchTrainer:
    look_often()
    return TorchTrainer(
        worker,
        train_loop_config={"experiment": experiment.model_dump(), "folder": f"{folder}/{name}"},
        run_config=RunConfig(
            name=name,
            storage_path=folder,
            failure_config=FailureConfig(max_failures=experiment.training.max_failures),
            checkpoint_config=CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute="objective", checkpoint_score_order="min"
            ),
            callbacks=[forward],
        ),
        **worker_group(experiment.resources),
    )
