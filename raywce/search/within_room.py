"""Has Tune start no more trials than the nodes hold, as they come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ray.tune import Callback
from ray.tune.search import ConcurrencyLimiter, Searcher

if TYPE_CHECKING:
    from ray.tune.experiment import Trial


class WithinRoom(ConcurrencyLimiter):  # type: ignore[misc]
    """Tune searcher: lets another one suggest as long as there is room, and has Tune ask again later where not.

    While nothing runs, Tune asks for up to ten minutes within one step, in which it heeds neither its callbacks nor a
    signal.
    """

    def __init__(self, searcher: Searcher, holds: Callable[[int], int], is_interrupted: Callable[[], bool]) -> None:
        """Take what the searcher depends on.

        Args:
            searcher: suggests.
            holds: as `Room.holds`; asked with the number of trials that were suggested and have not ended.
            is_interrupted: whether a signal came that ends the run.
        """
        super().__init__(searcher, max_concurrent=1)
        self._holds, self._is_interrupted = holds, is_interrupted

    def look(self) -> None:
        """Look for room.

        Raises:
            RunFailed: there was none for a single trial for too long.
        """
        self.max_concurrent = self._holds(len(self.live_trials))

    def suggest(self, trial_id: str) -> dict[str, object] | str | None:
        """Return the other's suggestion, None for not now, or that there is none, after a signal."""
        if self._is_interrupted():
            return str(self.FINISHED)
        self.look()
        suggestion: dict[str, object] | str | None = super().suggest(trial_id)
        return suggestion


class RoomCallback(Callback):
    """Tune callback: looks for room at each step.

    Tune asks a searcher no more once all trials are suggested: those whose nodes were lost would wait for ever.
    """

    def __init__(self, searcher: WithinRoom) -> None:
        self._searcher = searcher

    def __getstate__(self) -> dict[str, object]:
        return {}  # Tune keeps its callbacks in a file, which nothing reads

    def on_step_begin(self, iteration: int, trials: list[Trial], **_: object) -> None:
        """Look for room.

        Raises:
            RunFailed: there was none for a single trial for too long.
        """
        self._searcher.look()
