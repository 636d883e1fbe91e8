"""A search as a job on a cluster whose nodes come late, are lost and are drained; it is stopped and submitted again."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.demo_world import (
    CHECKPOINT_EVERY,
    ONE_WORKER,
    World,
    contents,
    lasting,
    needs_a_voice,
    trials,
    wait_for,
)
from tests.ray_nodes import RAY, Nodes, ray_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_a_voice]

ROOT = Path(__file__).parents[1]
SPOT_S = 10  # that a node has left when it is said to be taken away


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """A head without CPUs, to which the tests add what they need."""
    with (
        tempfile.TemporaryDirectory(prefix="raywce-", ignore_cleanup_errors=True) as folder,
        ray_nodes(Path(folder), cpus=(0,)) as running,
    ):
        yield running


def under_way(run: Path, trial: str) -> bool:
    steps = [step or 0 for name, step in trials(run) if name.startswith(trial)]
    return max(steps, default=0) > CHECKPOINT_EVERY


def test_a_job_waits_for_nodes_outlives_a_lost_and_a_drained_one_and_goes_on_when_submitted_again(
    world: World, undisturbed: Path, nodes: Nodes
) -> None:
    arguments, run = world.of(world.folder / "job", ONE_WORKER), world.folder / "job" / "demo"

    def job(command: str, *more: str, check: bool = True) -> str:
        line = [RAY, "job", command, "--address", nodes.dashboard, *more]
        done = subprocess.run(line, env=nodes.environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(name: str) -> None:
        entry = ["--", sys.executable, "-m", "raywce", "search", *arguments]
        surroundings = ["--runtime-env", "cluster/runtime-env.yaml", "--no-wait", "--submission-id", name]
        job("submit", *surroundings, *entry)

    def is_running(name: str) -> bool:
        return any(state in job("status", name) for state in ("PENDING", "RUNNING"))

    def log(name: str) -> str:
        return job("logs", name, check=False)

    assert nodes.status_without_token() in (401, 403)
    submit("first")
    waits = "waiting for 1 x (1 CPUs, 0 GPUs); there are 0 CPUs and 0 GPUs on 1 node(s)"
    wait_for(lambda: waits in log("first"), lambda: is_running("first"), lambda: log("first"))
    assert not run.exists() or not trials(run)
    nodes.add(1)
    nodes.add(1)

    wait_for(lambda: under_way(run, "baseline-0"), lambda: True, lambda: log("first"))
    lost = nodes.with_worker()
    assert lost is not nodes.running[0], "the head has no CPU for workers"
    nodes.kill(lost)
    wait_for(lambda: under_way(run, "search-000"), lambda: True, lambda: log("first"))
    job("stop", "first")
    assert "run the same command to resume" in log("first")
    assert "baseline-0: done, restarts: 1" in log("first")
    stopped = trials(run)
    assert {name for (name, _), row in stopped.items() if row["restarts"]} == {"baseline-0"}
    ended = {name for (name, _), row in stopped.items() if row["state"] == "COMPLETE"}
    assert ended == {"baseline-0"}
    files = contents(run / "trials" / "baseline-0")

    nodes.add(1)
    submit("second")
    wait_for(lambda: under_way(run, "search-001"), lambda: True, lambda: log("second"))
    spot = nodes.with_worker()
    nodes.drain(spot, SPOT_S)
    time.sleep(SPOT_S)
    nodes.kill(spot)
    wait_for(lambda: not is_running("second"), lambda: True, lambda: log("second"))
    assert lasting(trials(run)) == lasting(trials(undisturbed))
    tables = [pq.read_table(folder / "utterances.parquet") for folder in (run, undisturbed)]
    assert tables[0].equals(tables[1])
    assert contents(run / "trials" / "baseline-0").items() <= files.items()  # removed may be some, written none
    assert {of: row for of, row in trials(run).items() if of[0] in ended} == {
        of: row for of, row in stopped.items() if of[0] in ended
    }
