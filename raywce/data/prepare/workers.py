"""Runs shards in worker processes, a bounded number at a time; an interrupt ends them without a stack trace."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from types import TracebackType

from raywce.data.prepare.shards import Shard, ShardResult, write_shard
from raywce.errors import RunFailed

_QUEUED = 2  # shards a worker, so that none waits for the main process


class Workers:
    """A pool of `jobs` processes, started when first needed; a single job runs in this process."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._executor:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def write(self, shards: Iterable[Shard]) -> Iterator[tuple[Shard, ShardResult]]:
        """Write the shards; results come as they are ready."""
        if self._jobs == 1:
            yield from ((shard, write_shard(shard)) for shard in shards)
            return
        waiting = iter(shards)
        running: dict[Future[ShardResult], Shard] = {}
        while True:
            for shard in islice(waiting, self._jobs * _QUEUED - len(running)):
                with _interrupts_held():  # a process that starts inherits this, until it knows how to leave
                    running[self._pool().submit(write_shard, shard)] = shard
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(done), _result(done)

    def _pool(self) -> ProcessPoolExecutor:
        if self._executor is None:
            spawn = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(self._jobs, mp_context=spawn, initializer=_start_worker)
        return self._executor


def _result(done: Future[ShardResult]) -> ShardResult:
    try:
        return done.result()
    except BrokenProcessPool as error:
        text = "a worker process died (out of memory?); the same command with fewer --jobs goes on from here"
        raise RunFailed(text) from error


@contextmanager
def _interrupts_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """Ctrl-C reaches every process of the terminal: a worker leaves at once; so it does if its parent is gone."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
