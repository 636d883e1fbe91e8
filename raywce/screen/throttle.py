"""A limit on how often work is done whose cost grows with the search."""

from __future__ import annotations

import time

ALIVE_S = 30.0  # between two lines of progress in a log


class Throttle:
    """Limit on repeated work: due after `seconds`, or later where the work takes more than a tenth of the time.

    The work is done in a `with` block, which measures it. A search of a thousand trials with a report a second each
    thus spends little of its time on tables.
    """

    _SHARE = 0.1

    def __init__(self, seconds: float, at_once: bool = True) -> None:
        """Set the interval; the work is first due at once, or after the interval."""
        self.seconds = seconds
        self._started = float("-inf")
        self._next = self._started if at_once else time.monotonic() + seconds

    def is_due(self) -> bool:
        """Return whether the work is due."""
        return time.monotonic() >= self._next

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        now = time.monotonic()
        self._next = now + max(self.seconds, (now - self._started) / self._SHARE)
