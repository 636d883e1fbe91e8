from __future__ import annotations

from raywce.search.driver import Run
from raywce.search.listed import ListedRuns
from raywce.search.within_room import WithinRoom


def test_trials_begin_as_room_comes_and_goes() -> None:
    room = {"holds": 0}
    asked: list[int] = []

    def holds(running: int) -> int:
        asked.append(running)
        return room["holds"]

    searcher = WithinRoom(ListedRuns([Run("one"), Run("two"), Run("three")]), holds)
    assert searcher.suggest("a") is None
    room["holds"] = 1
    assert Run.of(searcher.suggest("b")).trial_id == "one"
    assert searcher.suggest("c") is None
    room["holds"] = 2
    assert Run.of(searcher.suggest("d")).trial_id == "two"
    room["holds"] = 1  # a node was lost: what runs, runs on
    searcher.on_trial_complete("b")
    assert searcher.suggest("e") is None
    searcher.on_trial_complete("d")
    assert Run.of(searcher.suggest("f")).trial_id == "three"
    room["holds"] = 3
    assert searcher.suggest("g") == searcher.FINISHED
    assert asked == [0, 0, 1, 1, 1, 0, 1]
