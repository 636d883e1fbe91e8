from __future__ import annotations

import logging
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from ray.exceptions import OutOfMemoryError
from ray.train._internal.storage import _create_directory
from ray.tune.search import Searcher

from raywce.errors import RunFailed
from raywce.runs.folder import RunFolder
from raywce.search.tune_run import TuneRuns, quiet
from tests.search import surrogate


def test_ray_s_own_state_prints_no_traceback_while_the_storage_is_away(caplog: pytest.LogCaptureFixture) -> None:
    def away(path: str) -> None:
        raise OSError("no route to host")

    storage: Any = SimpleNamespace(create_dir=away)
    with caplog.at_level(logging.ERROR, "ray.train._internal.storage"):
        _create_directory(storage, "runs/a")
        assert "no route to host" in caplog.text
        caplog.clear()
        quiet()
        _create_directory(storage, "runs/a")
        assert not caplog.text


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_trial_that_ray_kills_for_its_memory_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    def fit(self: tune.Tuner) -> None:
        raise RuntimeError("Caught unexpected exception: 1 worker(s) were killed") from (
            OutOfMemoryError("1 worker(s) were killed") if is_killed else None
        )

    monkeypatch.setattr(tune.Tuner, "fit", fit)
    file = surrogate.load_file(tmp_path)
    folder = RunFolder.of(str(tmp_path), "run")
    room: Any = SimpleNamespace(wanted=lambda left: nullcontext(), holds=None, fits=1)
    nothing: Any = None
    with pytest.raises(RunFailed if is_killed else RuntimeError) as found:
        TuneRuns(file, folder, room).run("search", nothing, Searcher(), left=1, wanted=1)
    assert ("Run the same command to resume" in str(found.value)) == is_killed
    assert str(found.value).endswith(f"({folder.uri})") == is_killed
