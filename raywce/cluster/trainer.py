"""Ray Train's trainer: built for an experiment's resources, and run while its messages are received from a queue."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raywce.cluster.gpu import allocator_settings
from raywce.experiment.schema import Resources

PATIENCE_S = 0.2  # between two looks at whether the trainer has ended


class TrainerFailed(Exception):
    """The trainer ended with an error; the message is the last line of the first worker's own."""


def message_queue() -> Queue:
    """Return a queue on this process's node, so that no other node's loss ends it; it takes no CPU from the workers."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})


def fit(trainer: TorchTrainer, queue: Queue, on_message: Callable[[Any], None]) -> None:
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


def make_trainer(
    worker: Callable[[Mapping[str, Any]], None],
    config: Mapping[str, object],
    resources: Resources,
    run_config: RunConfig,
) -> TorchTrainer:
    """Return a trainer whose workers call `worker` with `config`, each with the CPUs and GPUs of `resources`.

    Workers with whole GPUs exchange through NCCL. One with a share of a GPU is alone: gloo takes no memory of it.
    """
    look_often()
    of_worker = {"CPU": resources.cpus_per_worker}
    if resources.gpus_per_worker:
        of_worker["GPU"] = resources.gpus_per_worker
        run_config = replace(run_config, worker_runtime_env={"env_vars": allocator_settings()})
    return TorchTrainer(
        worker,
        train_loop_config=dict(config),
        scaling_config=ScalingConfig(
            num_workers=resources.workers, use_gpu=resources.gpus_per_worker > 0, resources_per_worker=of_worker
        ),
        torch_config=TorchConfig(backend="nccl" if resources.gpus_per_worker >= 1 else "gloo"),
        run_config=run_config,
    )


def look_often() -> None:
    """Let the controller look for reports each half second; the default of 2 s would hold up every evaluation."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")


def _run(trainer: TorchTrainer, errors: list[Exception]) -> None:
    try:
        trainer.fit()
    except Exception as error:  # reported by `fit`, in the caller's thread
        errors.append(error)


def _reason(error: Exception) -> str:
    failures = getattr(error, "worker_failures", None)
    first = next(iter(failures.values())) if failures else error
    lines = [line.strip() for line in str(first).splitlines() if line.strip()]
    return lines[-1] if lines else type(first).__name__
