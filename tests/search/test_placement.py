"""All trials of a search are placed, and none waits while there is room: on 8 and on 64 logical GPUs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search.placement import Placed

ROOT = Path(__file__).parents[2]
BEGIN_S = 60.0  # for Tune to hear that a trial has ended, and to start the process of the next, on a busy machine


def placed(gpus: int, trials: int, workers: int) -> dict[str, Placed]:
    line = [sys.executable, "-m", "tests.search.placement", *map(str, (gpus, trials, workers))]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    printed = [line for line in done.stdout.splitlines() if line.startswith("{")]  # Ray may say something at its end
    return {name: Placed(**times) for name, times in json.loads(printed[-1]).items()}


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("gpus", "trials", "workers"),
    [
        (8, 6, 2),
        (8, 12, 1),
        (64, 72, 1),  # 64 processes begin at once
        (64, 20, 4),
    ],
)
def test_all_are_placed_and_none_waits_while_room_is_free(gpus: int, trials: int, workers: int) -> None:
    found = placed(gpus, trials, workers)
    assert len(found) == trials
    wave = gpus // workers
    begun = sorted(found.values(), key=lambda one: one.had)
    at_once = [sum(other.had <= one.had < other.left for other in begun) for one in begun]
    assert max(at_once) == wave  # no more than fit, and all that do
    waited = [one.had - one.asked for one in begun]
    freed = sorted(one.left for one in begun)
    idle = [one.had - end for one, end in zip(begun[wave:], freed, strict=False)]
    print(
        f"{gpus} GPUs, {trials} trials of {workers}: {max(at_once)} at once, waited {max(waited):.1f} s for its place"
    )
    print(f"room was free for {max(idle):.1f} s at most before the next trial had it")
    assert max(waited) < 10  # no driver sits and waits for others to end
    assert max(idle) < BEGIN_S
