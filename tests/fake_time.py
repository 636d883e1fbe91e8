"""The `time` module of a test that does not wait."""

from __future__ import annotations


class FakeTime:
    """Stands in a module's place of `time`; `now` is its clock."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
