"""As many trials as there is room for, by a searcher that Tune asks step by step."""

from __future__ import annotations

import pytest

from raywce.errors import RunFailed
from raywce.search.driver import Run
from raywce.search.searcher import ListedRuns
from raywce.search.within_room import RoomCallback, WithinRoom


class Stepped:
    """A searcher of three runs as Tune asks it: in a step after the callback, or again and again without one."""

    def __init__(self) -> None:
        self.room: int | None = 0  # None: for too long
        self.asked: list[int] = []
        self.is_interrupted = False
        runs = ListedRuns([Run("one"), Run("two"), Run("three")])
        self.searcher = WithinRoom(runs, self._holds, lambda: self.is_interrupted)
        self._callback = RoomCallback(self.searcher)

    def _holds(self, running: int) -> int:
        self.asked.append(running)
        if self.room is None:
            raise RunFailed("no room came")
        return self.room

    def step(self) -> None:
        self._callback.on_step_begin(len(self.asked), [])

    def suggest(self, trial_id: str) -> dict[str, object] | str | None:
        return self.searcher.suggest(trial_id)


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


def test_room_that_comes_while_tune_asks_within_one_step_is_used() -> None:
    tune = Stepped()
    tune.step()
    assert tune.suggest("a") is None
    tune.room = 1
    assert Run.of(tune.suggest("a")).trial_id == "one"


def test_a_signal_ends_tunes_asking_within_one_step() -> None:
    tune = Stepped()
    tune.is_interrupted = True
    assert tune.suggest("a") == tune.searcher.FINISHED
    assert not tune.asked
