"""What a search itself costs beside its trials: time and memory of the process that drives it.

The trials are surrogates of a second on logical GPUs. On a small machine most of the time goes into starting Tune's
actors, one a trial; what the driver itself does is its CPU time.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.benchmarks.search_overhead import TRIAL_S
from tests.demo_world import needs_a_voice, open_world
from tests.demo_world import trials as rows_of

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(5400)]

ROOT = Path(__file__).parents[2]
AT_ONCE = 64
TRAININGS = 4
SHORT = ["training.steps=20", "search.baseline_seeds=1", "search.points=none", "resources.workers=1"]
GROWTH = 3.0  # of the driver's time a trial, and its memory, over a tenfold number of trials


@dataclass(frozen=True)
class Figures:
    """Attributes: of the driver's process, seconds and megabytes."""

    trials: int
    at_once: int
    trial_s: float
    wall_s: float
    cpu_s: float
    rss_mb: float

    @property
    def beyond_s(self) -> float:
        """Wall time beyond what the trials take by themselves, a trial."""
        return (self.wall_s - self.trial_s * math.ceil(self.trials / self.at_once)) / self.trials

    def __str__(self) -> str:
        return (
            f"{self.trials:6} {self.at_once:8} {self.wall_s:8.1f} {self.beyond_s:14.3f} "
            f"{1000 * self.cpu_s / self.trials:13.1f} {self.rss_mb:7.0f}"
        )


HEAD = f"{'trials':>6} {'at once':>8} {'wall s':>8} {'beyond, s each':>14} {'CPU, ms each':>13} {'RSS MB':>7}"


def test_a_search_of_actors() -> None:
    found = measure("actors", TRIAL_S, [(10, 10), (100, AT_ONCE), (1000, AT_ONCE)])
    grows_little(found)


def test_searcher_scheduler_and_table_without_actors() -> None:
    found = measure("events", 0.0, [(10, 10), (100, 100), (1000, 1000)])
    grows_little(found)


@needs_a_voice
def test_a_search_of_trainings(tmp_path: Path) -> None:
    print(
        f"\ntrainings on the demo world, a baseline and {TRAININGS} trials\n"
        f"{'at once':>8} {'wall s':>8} {'beyond, s each':>14}"
    )
    with open_world(tmp_path) as world:
        for at_once in (1, 2):
            storage = tmp_path / f"{at_once}"
            changes = [f"search.trials={TRAININGS}", f"search.max_concurrent_trials={at_once}", *SHORT]
            began = time.monotonic()
            world.run("search", *world.of(storage, changes), codes=(0, 3))
            wall = time.monotonic() - began
            last = {name: row for (name, _), row in rows_of(storage / "demo").items()}
            baseline = last.pop("baseline-0")["time_s"]
            beyond = wall - baseline - sum(row["time_s"] for row in last.values()) / at_once
            print(f"{at_once:8} {wall:8.1f} {beyond / (TRAININGS + 1):14.1f}", flush=True)
            assert len(last) == TRAININGS


def grows_little(found: list[Figures]) -> None:
    _, hundred, thousand = found
    assert thousand.cpu_s / 1000 < GROWTH * hundred.cpu_s / 100
    assert thousand.rss_mb < GROWTH * hundred.rss_mb


def measure(kind: str, trial_s: float, sizes: list[tuple[int, int]]) -> list[Figures]:
    print(f"\n{kind}, trials of {trial_s:g} s\n{HEAD}")
    found = []
    for trials, at_once in sizes:
        command = [sys.executable, "-m", "tests.benchmarks.search_overhead", kind, str(trials), str(at_once)]
        env = {**os.environ, "RAY_ADDRESS": ""}
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env=env)
        found.append(Figures(trials, at_once, trial_s, **json.loads(done.stdout.splitlines()[-1])))
        print(found[-1], flush=True)
    return found
