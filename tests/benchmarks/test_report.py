"""The report of 1,000 trials: seconds to write it, its size, seconds to open it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raywce.report.write import make_report, write_page
from tests.report import made_runs
from tests.report.browser import chromium

pytestmark = pytest.mark.benchmark
TRIALS = 1000
DRAWN = "() => document.documentElement.dataset.drawn"
PAINTED = "() => performance.getEntriesByType('paint').at(-1).startTime / 1000"


def test_a_thousand_trials(tmp_path: Path) -> None:
    run = made_runs.MadeRun(made_runs.write_file(tmp_path, trials=TRIALS, confirm={"candidates": 0}))
    run.baseline()
    run.search()
    run.outcome()
    begun = time.monotonic()
    file = Path(write_page(make_report(run.folder)))
    written = time.monotonic() - begun
    size = file.stat().st_size / 1e6
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        begun = time.monotonic()
        page.goto(file.as_uri())
        loaded = time.monotonic() - begun
        painted = page.evaluate(PAINTED)
        page.wait_for_selector("html[data-shown]", state="attached", timeout=60_000)
        shown = time.monotonic() - begun
        page.wait_for_function(DRAWN, timeout=60_000)
        drawn = time.monotonic() - begun
    print(f"\n{TRIALS} trials: written in {written:.1f} s, {size:.2f} MB,", end=" ")
    print(f"painted after {painted:.2f} s, loaded after {loaded:.2f} s,", end=" ")
    print(f"all of the first screen after {shown:.2f} s, all plots drawn after {drawn:.2f} s")
    assert written < 30
    assert size < 10
    assert shown < 3  # on a quiet machine
