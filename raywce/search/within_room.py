"""A Tune searcher that starts no more trials than the cluster's nodes hold, as they come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.search import ConcurrencyLimiter, Searcher


class WithinRoom(ConcurrencyLimiter):  # type: ignore[misc]
    """Lets another searcher suggest as long as there is room, and has Tune ask again later where there is none."""

    def __init__(self, searcher: Searcher, holds: Callable[[int], int]) -> None:
        """Say how much room there is: `holds` gets the number of running trials (`raywce.room.Room.holds`)."""
        self._holds = holds
        super().__init__(searcher, max_concurrent=1)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The other's suggestion, or None: not now."""
        self.max_concurrent = self._holds(len(self.live_trials))
        suggestion: dict[str, Any] | str | None = super().suggest(trial_id)
        return suggestion
