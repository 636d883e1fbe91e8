"""The work of each Ray Train worker for a profile: timed steps, evaluations and a checkpoint of a training."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any, get_args

import torch
from torch import Tensor, distributed
from torch.distributed import ReduceOp

from raywce.data.dev_split import Part
from raywce.data.loader import Loader, StepBatch
from raywce.data.schema import SAMPLE_RATE
from raywce.model import UtteranceLosses
from raywce.profile.measured import Batches
from raywce.profile.memory import Memory
from raywce.profile.parts import Parts, now
from raywce.profile.peak import matrix_peak, operations
from raywce.training.dev import count
from raywce.training.memory import is_out_of_memory
from raywce.training.optimizer import learning_rate, set_learning_rate
from raywce.training.session import Session
from raywce.training.setup import Worker, on_any_rank, work
from raywce.training.step import NotFiniteError, Stepper, update
from raywce.trial_report import Report

_FIRST = 2  # steps that take longer: buffers and kernels are made
_STEPS, _PARTS, _EVALUATIONS, _BATCHES = 0.4, 0.1, 0.2, 0.3  # of the time
_STATES = 0.3  # more of it, where encoder states are kept
_LEAST = 3  # steps, however long they take


def profile_worker(config: Mapping[str, object], session: Session, seconds: float, at_once: int = 1) -> None:
    """Profile as one of a trial's workers.

    Args:
        config: as of `raywce.training.setup.work`.
        session: of this worker.
        seconds: to take.
        at_once: trainings that are profiled on this node at the same time, this one among them.
    """
    work(config, session, lambda run: _Profile(run, seconds, at_once).report())


class _Profile:
    def __init__(self, run: Worker, seconds: float, at_once: int) -> None:
        self.run, self.seconds, self.at_once = run, seconds, at_once
        self.experiment, self.training = run.experiment, run.training
        self.memory = Memory(run.device)
        self.wrapped = run.wrapped()

    def report(self) -> None:
        """Measure all of it; the last report has the figures."""
        figures: dict[str, Any] = {"open_s": time.monotonic() - self.run.started}
        figures |= self._steps()
        start = time.monotonic()
        self.run.report(Report(1), save=True)
        figures["save_s"] = time.monotonic() - start
        figures |= self._evaluations()
        figures["batches"] = [asdict(one) for one in self._batches(figures["step_s"])]
        self.run.report(Report(2, profile={**figures, "worker_s": time.monotonic() - self.run.started}))

    def _steps(self) -> dict[str, object]:
        """Do steps as in training, then some whose parts are timed, and return their figures."""
        stepper = self.run.stepper(self.wrapped)
        loader = self.run.loader_of(self.training.batch_size, self.training.accumulation_steps)
        ready, encoded_per_second = self._encoded(loader)
        batches = _endless(loader, ready)
        self.memory.reset()
        first = [self._step(stepper, batches)[0] for _ in range(_FIRST)]
        rough = self._step(stepper, batches)[0]
        steps = [self._step(stepper, batches) for _ in range(self._count(_STEPS, rough))]
        peak = self._most_memory()
        parts = Parts(stepper, self.run.device)
        for _ in range(self._count(_PARTS, rough)):
            with parts.timed("data"):
                number, batch = next(batches)
            with parts.timed("gradients"):
                unread = parts.stepper.gradients(batch, number)
            with parts.timed("update"):
                unread.read(self._update())
        shares = parts.shares()  # before another step: the watch is in the model's hooks
        counted = operations(lambda: self._step(stepper, batches))
        batches.close()
        total = sum(seconds for seconds, _ in steps)
        step_s = total / len(steps)
        best = matrix_peak(self.run.device, self.run.precision)
        return {
            "precision": self.run.precision,
            "matrix_peak": best,
            "of_peak": counted / step_s / best,
            "first_steps_s": max(0.0, sum(first) - _FIRST * step_s),
            "steps": len(steps),
            "step_s": step_s,
            "utterances_per_second": self.training.batch_size / step_s,
            "audio_per_second": self._over_ranks(sum(audio for _, audio in steps), ReduceOp.SUM) / total,
            "shares": shares,
            "gigabytes": peak,
            "train": sum(map(len, self.run.pools.values())),
            "encoded_per_second": encoded_per_second,
        }

    def _encoded(self, loader: Loader) -> tuple[int | None, float | None]:
        """Compute the encoder states of some steps, where they are kept; return how many, and utterances a second.

        What is measured of these steps then is what all trainings but the first need.
        """
        if self.run.corpus.states is None:
            return None, None
        batches, start = loader.batches(0), time.monotonic()
        next(batches)
        steps = min(self.training.steps, self._count(_STATES, time.monotonic() - start))
        for _ in range(1, steps):
            next(batches)
        return steps, self.training.batch_size * steps / self._agreed(time.monotonic() - start)

    def _step(self, stepper: Stepper, batches: Iterator[tuple[int, StepBatch]]) -> tuple[float, float]:
        """Do a step; return its seconds, with the wait for its batch, and the seconds of this worker's audio in it."""
        began = now(self.run.device)
        number, batch = next(batches)
        set_learning_rate(self.run.optimizer, learning_rate(self.run.settings, number, self.training.steps))
        stepper.gradients(batch, number).read(self._update())
        samples = sum(sum(micro.samples) for micro in batch.micro_batches)
        return now(self.run.device) - began, samples / SAMPLE_RATE

    def _update(self) -> Tensor:
        return update(self.run.model, self.run.optimizer, self.run.settings.max_gradient_norm, self.run.scaler)

    def _evaluations(self) -> dict[str, object]:
        """Return how many utterances dev has, and how many are decoded a second."""
        dev = {part: count(self.run.dev.dev, self.experiment, part) for part in get_args(Part)}
        one_batch = self.experiment.evaluation.batch_size * self.run.workers / dev["all"]
        seconds, decoded = self._decode(min(1.0, one_batch))
        wanted = self._agreed(_EVALUATIONS * self.seconds * decoded / seconds) / dev["all"]
        if wanted > one_batch:
            seconds, decoded = self._decode(min(1.0, wanted))
        return {"decoded_per_second": decoded / seconds, "dev": dev}

    def _decode(self, share: float) -> tuple[float, int]:
        if self.run.dev.keeps_states:
            self.run.dev.decode_share(self.run.model, share)  # the first time computes them
        start = now(self.run.device)
        decoded = self.run.dev.decode_share(self.run.model, share)
        return now(self.run.device) - start, decoded

    def _batches(self, step_s: float) -> list[Batches]:
        """Measure ways to make batches: the file's own, larger micro-batches until one does not fit, then smaller ones.

        Each worker for itself, without the exchange: where one has no memory left, the others must not wait for it.
        """
        larger, smaller = ways(self.training.batch_size, self.run.workers, self.training.accumulation_steps)
        end = time.monotonic() + _BATCHES * self.seconds
        found = self._tried(larger, [], step_s, (time.monotonic() + end) / 2)
        return sorted(self._tried(smaller, found, step_s, end), key=lambda one: (one.batch_size, one.micro_batch))

    def _tried(self, untried: Sequence[Batches], found: list[Batches], step_s: float, end: float) -> list[Batches]:
        """Return those found, and the next ones up to the first that can't be measured, with its reason."""
        for one in untried:
            needs = 2 * step_s * one.batch_size / self.training.batch_size
            late = self._agreed(float(time.monotonic() + needs > end)) and len(found) > 0
            why_not = "no time left (--seconds)" if late else self._too_large(one, found)
            found = [*found, replace(one, why_not=why_not) if why_not else self._measured(one)]
            if found[-1].why_not:
                break
        return found

    def _too_large(self, one: Batches, found: Sequence[Batches]) -> str | None:
        """Return why not to try it: a CPU's memory must not run out, as a GPU's may."""
        needs = predicted([(known.micro_batch, known.gigabytes) for known in found if known.gigabytes], one.micro_batch)
        neighbours = self.at_once * self.run.session.neighbours
        least_room = self._over_ranks(self.memory.room(neighbours), ReduceOp.MIN)
        if self.run.device.type == "cuda" or needs is None or needs <= least_room:
            return None
        return f"a worker would need about {needs:.1f} GB, and {least_room:.1f} GB are free"

    def _measured(self, one: Batches) -> Batches:
        """Return it with utterances a second of all workers and gigabytes at the peak, or why a worker could not."""
        stepper = self.run.stepper(UtteranceLosses(self.run.model))
        ready = None if self.run.corpus.states is None else 1  # the step before computes the states of the measured one
        batches = _endless(self.run.loader_of(one.batch_size, one.accumulation_steps), ready)
        self.memory.reset()
        seconds, problem = 0.0, ""
        try:
            self._step(stepper, batches)
            seconds, _ = self._step(stepper, batches)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            problem = "out of memory"
        except NotFiniteError as error:
            problem = str(error)
        finally:
            batches.close()
            self.run.optimizer.zero_grad(set_to_none=True)
        problem = on_any_rank(problem)
        slowest, peak = self._over_ranks(seconds, ReduceOp.MAX), self._most_memory()
        if problem:
            return replace(one, why_not=problem)
        return replace(one, utterances_per_second=one.batch_size / slowest, gigabytes=peak)

    def _most_memory(self) -> float | None:
        """Return the gigabytes at the peak, of the worker with the most."""
        return self._over_ranks(self.memory.peak() or 0.0, ReduceOp.MAX) or None

    def _count(self, share: float, seconds: float) -> int:
        """Return how many steps of that length fit into a share of the time; the same on all ranks."""
        return max(_LEAST, int(self._agreed(share * self.seconds / seconds)))

    def _agreed(self, value: float) -> float:
        """Return the first rank's value, on all of them."""
        return self._over_ranks(value if self.run.rank == 0 else 0.0, ReduceOp.SUM)

    def _over_ranks(self, value: float, operation: ReduceOp.RedOpType) -> float:
        shared = torch.tensor(value, dtype=torch.float64, device=self.run.device)
        if distributed.is_initialized():
            distributed.all_reduce(shared, operation)
        return shared.item()


def _endless(loader: Loader, steps: int | None = None) -> Generator[tuple[int, StepBatch]]:
    """Yield a training's steps, or its first ones, again and again."""
    while True:
        yield from islice(enumerate(loader.batches(0)), steps)


def ways(batch_size: int, workers: int, accumulation_steps: int) -> tuple[list[Batches], list[Batches]]:
    """Return ways to make batches: the file's own and ones of larger micro-batches, by size, and those of smaller ones.

    Of the file's own batch size, all that it can be split into by doubling; then twice as large ones.
    """

    def of(batch_size: int, accumulation: int) -> Batches:
        return Batches(batch_size, accumulation, batch_size // (workers * accumulation))

    each = batch_size // workers
    sizes = [size for size in (2**power for power in range(each.bit_length())) if each % size == 0]
    sizes = sorted({*sizes, each, each // accumulation_steps})
    own = [of(batch_size, each // size) for size in sizes]
    larger = [one for one in own if one.accumulation_steps <= accumulation_steps]
    more = [of(batch_size * times, 1) for times in (2, 4, 8)]
    return larger + more, [one for one in reversed(own) if one.accumulation_steps > accumulation_steps]


def predicted(known: Sequence[tuple[int, float]], micro_batch: int) -> float | None:
    """Return the gigabytes that a micro-batch may need, by a straight line through those known; None without any."""
    if not known:
        return None
    (small, low), (large, high) = min(known), max(known)
    slope = (high - low) / (large - small) if large > small else high / large
    return high + max(0.0, slope) * (micro_batch - large)
