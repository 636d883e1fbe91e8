from __future__ import annotations

from pathlib import Path

import pytest

from raywce.runs.folder import RunFolder
from raywce.search import clock
from raywce.search.clock import SearchClock, StopAtLimit
from tests.fake_time import FakeTime


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    made = FakeTime(100.0)
    monkeypatch.setattr(clock, "time", made)
    return made


def test_the_time_of_all_commands_counts(tmp_path: Path, time: FakeTime) -> None:
    folder = RunFolder(str(tmp_path))
    first = SearchClock(folder, 50.0)
    time.now += 1000  # nodes are waited for
    first.start()
    time.now += 30
    first.save()
    time.now += 1000  # nothing runs
    second = SearchClock(folder, 50.0)
    assert second.seconds == pytest.approx(30)
    second.start()
    time.now += 19
    assert second.seconds == pytest.approx(49)
    assert not second.is_over()
    time.now += 1
    assert second.is_over()


def test_without_a_limit_it_is_never_over(tmp_path: Path, time: FakeTime) -> None:
    made = SearchClock(RunFolder(str(tmp_path)), None)
    made.start()
    time.now += 1e9
    assert not made.is_over()


def test_trials_are_stopped_at_their_next_report_but_not_at_their_last(tmp_path: Path, time: FakeTime) -> None:
    of_phase = SearchClock(RunFolder(str(tmp_path)), 10.0)
    of_phase.start()
    stop = StopAtLimit(of_phase)
    assert not stop("a", {"step": 1, "final": False})
    time.now += 10
    assert stop("a", {"step": 2, "final": False})
    assert not stop("a", {"step": 20, "final": True})
    assert not stop.stop_all()
