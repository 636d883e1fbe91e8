"""Has Tune start no more trials than the nodes hold, as they come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ray.tune import Callback
from ray.tune.search import ConcurrencyLimiter

if TYPE_CHECKING:
    from ray.tune.experiment import Trial


class WithinRoom(Callback):
    """Tune callback: sets at each step how many trials a searcher may have running.

    Not the searcher itself looks for room: Tune asks it no more once all trials are suggested, and those whose nodes
    were lost would wait for ever.
    """

    def __init__(self, searcher: ConcurrencyLimiter, holds: Callable[[int], int]) -> None:
        """Ask `holds`, as `Room.holds`, with the number of trials that `searcher` suggested and that have not ended."""
        self._searcher, self._holds = searcher, holds

    def __getstate__(self) -> dict[str, object]:
        return {}  # Tune keeps its callbacks in a file, which nothing reads

    def on_step_begin(self, iteration: int, trials: list[Trial], **_: object) -> None:
        """Look for room.

        Raises:
            RunFailed: there was none for a single trial for too long.
        """
        self._searcher.max_concurrent = self._holds(len(self._searcher.live_trials))
