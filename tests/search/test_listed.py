from __future__ import annotations

from raywce.search.driver import Run
from raywce.search.listed import ListedRuns


def test_one_run_after_the_other_then_no_more() -> None:
    runs = [Run("baseline-0", evaluates_original=True), Run("baseline-1", seed_index=1)]
    searcher = ListedRuns(runs)
    assert [Run.of(searcher.suggest(name)) for name in ("a", "b")] == runs
    assert searcher.suggest("c") == searcher.FINISHED
