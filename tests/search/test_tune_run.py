from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train._internal.storage import _create_directory

from raywce.search.tune_run import quiet


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
