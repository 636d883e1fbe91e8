"""As many trials as there is room for, by a searcher that Tune asks step by step."""

from __future__ import annotations

import pytest
from ray.tune.search import ConcurrencyLimiter

from raywce.errors import RunFailed
from raywce.search.driver import Run
from raywce.search.searcher import ListedRuns
from raywce.search.within_room import WithinRoom


class Stepped:
    """A searcher of three runs as Tune asks it: the callback before each suggestion."""

    def __init__(self) -> None:
        self.room: int | None = 0  # None: for too long
        self.asked: list[int] = []
        self.searcher = ConcurrencyLimiter(ListedRuns([Run("one"), Run("two"), Run("three")]), max_concurrent=1)
        self._within_room = WithinRoom(self.searcher, self._holds)

    def _holds(self, running: int) -> int:
        self.asked.append(running)
        if self.room is None:
            raise RunFailed("no room came")
        return self.room

    def step(self) -> None:
        self._within_room.on_step_begin(len(self.asked), [])

    def suggest(self, trial_id: str) -> dict[str, object] | str | None:
        self.step()
        found: dict[str, object] | str | None = self.searcher.suggest(trial_id)
        return found


def test_trials_begin_as_room_comes_and_goes() -> None:
    tune = Stepped()
    assert tune.suggest("a") is None
    tune.room = 1
    assert Run.of(tune.suggest("b")).trial_id == "one"
    assert tune.suggest("c") is None
    tune.room = 2
    assert Run.of(tune.suggest("d")).trial_id == "two"
    tune.room = 1  # a node was lost: what runs, runs on
    tune.searcher.on_trial_complete("b")
    assert tune.suggest("e") is None
    tune.searcher.on_trial_complete("d")
    assert Run.of(tune.suggest("f")).trial_id == "three"
    tune.room = 3
    assert tune.suggest("g") == tune.searcher.FINISHED
    assert tune.asked == [0, 0, 1, 1, 1, 0, 1]


def test_a_search_without_nodes_ends_though_all_trials_are_suggested() -> None:
    tune = Stepped()
    tune.room = 3
    for trial_id in "abc":
        tune.suggest(trial_id)
    tune.step()  # nothing is left to suggest: Tune takes its steps all the same
    tune.room = None
    with pytest.raises(RunFailed, match="no room came"):
        tune.step()
