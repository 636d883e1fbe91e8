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
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.benchmarks.search_overhead import TRIAL_S

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(5400)]

ROOT = Path(__file__).parents[2]
AT_ONCE = 64
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
