"""A Tune searcher for runs that are known beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ray.tune.search import Searcher

from raywce.search.driver import Run


class ListedRuns(Searcher):  # type: ignore[misc]
    """Suggests one run after the other, as `Run.of` reads them."""

    def __init__(self, runs: Iterable[Run]) -> None:
        super().__init__(metric=None, mode=None)
        self._left = list(runs)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next run, or that there is none."""
        return {"run": asdict(self._left.pop(0))} if self._left else str(self.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing is learnt from it."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing is gone on from Tune's own state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing is gone on from Tune's own state."""
