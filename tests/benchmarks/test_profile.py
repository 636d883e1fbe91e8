"""Whether a search takes as long as its profile says: the quickstart; run with -m benchmark -s."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.benchmarks.demo_runs import QUICKSTART, raywce

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

CLOSE = 0.2


@pytest.mark.parametrize("context", ["full", "batch"])
def test_the_estimate_is_near_what_the_search_takes(tmp_path: Path, context: str) -> None:
    changes = [f"storage={tmp_path}", f"training.encoder_context={context}"]
    raywce("profile", str(QUICKSTART), *changes, "--json", str(tmp_path / "profile.json"))
    estimated = json.loads((tmp_path / "profile.json").read_text())["estimate"]["seconds"]
    started = time.monotonic()
    raywce("search", str(QUICKSTART), *changes)
    taken = time.monotonic() - started
    print(f"\n{context} context: estimated {estimated:.0f} s, taken {taken:.0f} s: {estimated / taken - 1:+.1%}")
    assert abs(estimated / taken - 1) < CLOSE
