from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raywce.runs.folder import RunFolder
from raywce.runs.tables import rows_in
from raywce.screen import throttle
from raywce.search import table_callback
from raywce.search.checkpoints import Sweeper
from raywce.search.table_callback import TableCallback
from raywce.selection.trials import COMPLETE, FAIL, PRUNED, RUNNING, SEARCH
from tests.fake_time import FakeTime
from tests.search import surrogate


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    clock = FakeTime()
    monkeypatch.setattr(throttle, "time", clock)
    return clock


@pytest.fixture
def tables(tmp_path: Path, clock: FakeTime) -> TableCallback:
    file = surrogate.load_file(tmp_path)
    folder = RunFolder(str(tmp_path / "run"))
    made = TableCallback(folder, SEARCH, file, 4, lambda: 1, Sweeper(folder, 1))
    made.setup()
    return made


def trial(name: str = "search-0", **last: Any) -> SimpleNamespace:
    values = {"weighting.alpha": 2.0, "training.optimizer.learning_rate": 1e-5}
    return SimpleNamespace(
        num_failures=0,
        config={"trial_id": name, "values": values, "seed_index": 0},
        last_result=last,
        get_error=lambda: "lost",
    )


def states(tables: TableCallback) -> dict[str, str]:
    return {row["trial_id"]: row["state"] for row in rows_in(tables.folder, tables.file.space)}


@pytest.mark.parametrize(
    ("last", "state", "reason"),
    [
        ({"step": 20, "final": True}, COMPLETE, None),
        ({"step": 10, "final": False}, PRUNED, None),
        ({"step": 10, "final": False, "failure": "no memory"}, FAIL, "no memory"),
    ],
)
def test_how_a_trial_ends(tables: TableCallback, last: dict[str, Any], state: str, reason: str | None) -> None:
    tables.on_trial_start(0, [], trial())
    tables.on_trial_result(0, [], trial(), {"step": 10, "wer/gl": 0.4, "objective": 0.4})
    tables.on_trial_complete(0, [], trial(**last))
    (row,) = tables.table.of("search-0")
    assert (row["state"], row["reason"], row["wer/gl"]) == (state, reason, 0.4)


def test_a_trial_stopped_before_its_first_evaluation_has_failed(tables: TableCallback) -> None:
    tables.on_trial_start(0, [], trial())
    tables.on_trial_result(0, [], trial(), {"step": 5})
    tables.on_trial_complete(0, [], trial(step=5, final=False))
    (row,) = tables.table.of("search-0")
    assert (row["state"], row["reason"]) == (FAIL, "stopped before its first evaluation")


def test_the_table_is_written_at_most_once_a_second(tables: TableCallback, clock: FakeTime) -> None:
    tables.on_trial_start(0, [], trial())
    tables.on_step_end(0, [])
    assert states(tables) == {"search-0": RUNNING}
    tables.on_trial_complete(0, [], trial(final=True))
    tables.on_step_end(0, [])
    assert states(tables) == {"search-0": RUNNING}
    clock.now += table_callback._WRITE_S
    tables.on_step_end(0, [])
    assert states(tables) == {"search-0": COMPLETE}


def test_a_storage_failure_ends_the_phase_and_the_trial_is_not_written_off(tables: TableCallback) -> None:
    tables.on_trial_start(0, [], trial())
    with pytest.raises(OSError, match="No space left"):
        tables.on_trial_result(0, [], trial(), {"step": 10, "storage_failure": "No space left on device"})
    tables.on_experiment_end([trial()])
    assert states(tables) == {"search-0": RUNNING}


def test_the_end_of_a_phase_is_written(tables: TableCallback) -> None:
    tables.on_trial_start(0, [], trial())
    tables.on_step_end(0, [])
    tables.on_trial_complete(0, [], trial(final=True))
    tables.on_experiment_end([trial()])
    assert states(tables) == {"search-0": COMPLETE}


def test_nothing_is_written_where_nothing_changed(tables: TableCallback) -> None:
    tables.on_step_end(0, [])
    assert not tables.folder.has("trials.parquet")


def test_what_is_slow_waits_for_ten_times_as_long(clock: FakeTime) -> None:
    made = throttle.Throttle(1.0)
    assert made.is_due()
    with made:
        clock.now += 0.5
    clock.now += 4.9
    assert not made.is_due()
    clock.now += 0.2
    assert made.is_due()
