"""The time that the search phase may take, kept in the run folder: a resumed search continues to count."""

from __future__ import annotations

import json
import time

from ray.tune import Stopper

from raywce.runs.folder import RunFolder
from raywce.trial_report import FINAL, Flat

_FILE = "search_clock.json"


class SearchClock:
    """Seconds that the search phase has run, in this command and those before it.

    Attributes:
        limit_s: of the whole phase; None: no limit.
    """

    def __init__(self, folder: RunFolder, limit_s: float | None) -> None:
        self.limit_s = limit_s
        self._folder = folder
        self._before = json.loads(folder.read_text(_FILE))["seconds"] if folder.has(_FILE) else 0.0
        self._started: float | None = None

    def start(self) -> None:
        """Begin to count: waiting for nodes takes none of the phase's time."""
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """The time until now."""
        return float(self._before + (0.0 if self._started is None else time.monotonic() - self._started))

    def seconds_left(self) -> float:
        """Return the time until the limit; infinite without one, below 0 where it is over."""
        return float("inf") if self.limit_s is None else self.limit_s - self.seconds

    def is_over(self) -> bool:
        """Return whether the limit is reached."""
        return self.seconds_left() <= 0

    def save(self) -> None:
        """Write the time until now."""
        self._folder.write_text(_FILE, json.dumps({"seconds": self.seconds}) + "\n")


class StopAtLimit(Stopper):  # type: ignore[misc]
    """Stops each trial at its next report once the time is over."""

    def __init__(self, clock: SearchClock) -> None:
        self._clock = clock

    def __call__(self, trial_id: str, result: Flat) -> bool:
        """Return whether this trial stops; one that has come to its last step ends by itself."""
        return self._clock.is_over() and not result.get(FINAL)

    def stop_all(self) -> bool:
        """Return False: trials stopped all at once would be cut off between two reports."""
        return False
