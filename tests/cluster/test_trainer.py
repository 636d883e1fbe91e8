"""Without a cluster: a trainer is a function here, and the queue one of this process."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest
from ray.train import WorkerGroupError

from raywce.cluster import trainer as listening
from raywce.cluster.trainer import TrainerFailed, fit


class LocalQueue(queue.Queue[Any]):
    closed = False

    def shutdown(self, force: bool = False) -> None:
        self.closed = force


class Trainer:
    def __init__(self, run: Callable[[], None]) -> None:
        self.fit = run


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> LocalQueue:
    monkeypatch.setattr(listening, "Empty", queue.Empty)
    monkeypatch.setattr(listening, "PATIENCE_S", 0.01)
    return LocalQueue()


def test_messages_come_in_order_and_none_is_lost_at_the_end(messages: LocalQueue) -> None:
    heard: list[int] = []
    fit(Trainer(lambda: [messages.put(number) for number in range(50)]), messages, heard.append)
    assert heard == list(range(50))
    assert messages.closed


def test_the_first_workers_last_line_is_the_reason(messages: LocalQueue) -> None:
    error = WorkerGroupError("all of it", {1: ValueError("Traceback\n  somewhere\nno space left\n")})

    def run() -> None:
        messages.put("before")
        raise error

    heard: list[str] = []
    with pytest.raises(TrainerFailed, match=r"^no space left$"):
        fit(Trainer(run), messages, heard.append)
    assert heard == ["before"], "what came before the failure is heard"
    assert messages.closed


def test_what_the_listener_raises_passes_through(messages: LocalQueue) -> None:
    def refuse(message: str) -> None:
        raise KeyError(message)

    with pytest.raises(KeyError, match="one"):
        fit(Trainer(lambda: messages.put("one")), messages, refuse)
    assert messages.closed
