"""Runs a Ray Train trainer and hears, in this process, what its workers or its controller put into a queue."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from ray.train import ScalingConfig
from ray.train.torch import TorchConfig
from ray.util.queue import Empty, Queue

from raywce.experiment.schema import Resources

PATIENCE_S = 0.2  # between two looks at whether the trainer has ended


class TrainerFailed(Exception):
    """The trainer ended with an error; the message is the last line of the first worker's own."""


def message_queue() -> Queue:
    """A queue that takes no CPU from the workers."""
    return Queue(actor_options={"num_cpus": 0})


def fit(trainer: Any, queue: Queue, on_message: Callable[[Any], None]) -> None:
    """Run `trainer` to its end; `on_message` is called in this thread with each message, in order.

    Raises:
        TrainerFailed: in place of the trainer's own error. What `on_message` raises passes through.
    """
    errors: list[Exception] = []
    thread = threading.Thread(target=_run, args=(trainer, errors), daemon=True)
    thread.start()
    try:
        while True:
            alive = thread.is_alive()  # asked before the queue: nothing can come after it is empty then
            try:
                message = queue.get(timeout=PATIENCE_S)
            except Empty:
                if not alive:
                    break
                continue
            on_message(message)
    finally:
        queue.shutdown(force=True)
    if errors:
        raise TrainerFailed(_reason(errors[0])) from errors[0]


def worker_group(resources: Resources) -> dict[str, Any]:
    """Return TorchTrainer's arguments for so many workers, each with the CPUs and GPUs that the experiment gives it.

    Workers that share a GPU exchange through gloo: NCCL refuses two ranks on one device.
    """
    of_worker = {"CPU": resources.cpus_per_worker}
    if resources.gpus_per_worker:
        of_worker["GPU"] = resources.gpus_per_worker
    return {
        "scaling_config": ScalingConfig(
            num_workers=resources.workers, use_gpu=resources.gpus_per_worker > 0, resources_per_worker=of_worker
        ),
        "torch_config": TorchConfig(backend="nccl" if resources.gpus_per_worker >= 1 else "gloo"),
    }


def look_often() -> None:
    """Let the controller look for reports each half second; the default of 2 s would hold up every evaluation."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")


def _run(trainer: Any, errors: list[Exception]) -> None:
    try:
        trainer.fit()
    except Exception as error:  # told by `fit`, in the caller's thread
        errors.append(error)


def _reason(error: Exception) -> str:
    failures = getattr(error, "worker_failures", None)
    first = next(iter(failures.values())) if failures else error
    lines = [line.strip() for line in str(first).splitlines() if line.strip()]
    return lines[-1] if lines else type(first).__name__
