"""How often something may be done whose cost grows with the search."""

from __future__ import annotations

import time

ALIVE_S = 30.0  # from one sign of life to the next, in a log


class Pace:
    """Says when it is time again: after `seconds`, and later where doing it takes more than a tenth of that.

    What is done stands in a `with` block, which takes its time. A search of a thousand trials, each with a report a
    second, so spends a small share of its time on tables that only a person looks at.
    """

    _SHARE = 0.1

    def __init__(self, seconds: float, at_once: bool = True) -> None:
        """Set the interval; the first time is at once, or after it."""
        self.seconds = seconds
        self._began = float("-inf")
        self._next = self._began if at_once else time.monotonic() + seconds

    def is_due(self) -> bool:
        """Whether it may be done now."""
        return time.monotonic() >= self._next

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        now = time.monotonic()
        self._next = now + max(self.seconds, (now - self._began) / self._SHARE)
