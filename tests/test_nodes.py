"""Searches on a cluster of three nodes: one lost in mid-trial, one stopped as a job and submitted again."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.demo_world import (
    CHECKPOINT_EVERY,
    World,
    contents,
    lasting,
    needs_a_voice,
    open_world,
    trials,
    wait_for,
)
from tests.ray_nodes import RAY, Nodes, ray_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_a_voice]

ROOT = Path(__file__).parents[1]
SEARCH = ["training.steps=8", "search.trials=2", "search.baseline_seeds=1", "search.points=none"]
SEARCH += ["search.constraints.absolute_floor=3.0", "resources.workers=1", "search.max_concurrent_trials=1"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(tmp_path_factory.mktemp("world")) as new:
        new.run("search", *new.of(new.folder / "undisturbed", SEARCH), codes=(0, 3))
        yield new


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with (
        tempfile.TemporaryDirectory(prefix="raywce-", ignore_cleanup_errors=True) as folder,
        ray_nodes(Path(folder), cpus=(0, 1, 1)) as running,
    ):
        yield running


def is_the_undisturbed_run(world: World, run: Path) -> None:
    undisturbed = world.folder / "undisturbed" / "quickstart"
    assert lasting(trials(run)) == lasting(trials(undisturbed))
    tables = [pq.read_table(folder / "utterances.parquet") for folder in (run, undisturbed)]
    assert tables[0].equals(tables[1])


def under_way(run: Path, trial: str) -> bool:
    steps = [step or 0 for name, step in trials(run) if name.startswith(trial)]
    return max(steps, default=0) > CHECKPOINT_EVERY


def test_a_lost_node_is_made_up_for_by_another(world: World, nodes: Nodes) -> None:
    arguments, run = world.of(world.folder / "lost", SEARCH), world.folder / "lost" / "quickstart"
    with (world.folder / "log").open("wb") as log:
        line = [sys.executable, "-m", "raywce", "search", *arguments]
        search = subprocess.Popen(line, stdout=log, stderr=log, cwd=world.folder, env=nodes.environment)
    wait_for(lambda: under_way(run, "search-000"), lambda: search.poll() is None, lambda: world.log)
    lost = nodes.with_worker()
    assert lost is not nodes.running[0], "the head has no CPU for workers"
    nodes.kill(lost)
    assert search.wait() in (0, 3), world.log
    is_the_undisturbed_run(world, run)
    restarted = {name: row["restarts"] for (name, _), row in trials(run).items() if row["restarts"]}
    assert [name.startswith("search-000") for name in restarted] == [True]
    assert "(workers restarted: 1)" in world.log


def test_a_stopped_job_that_is_submitted_again_goes_on(world: World, nodes: Nodes) -> None:
    arguments, run = world.of(world.folder / "job", SEARCH), world.folder / "job" / "quickstart"

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

    assert nodes.status_without_token() in (401, 403)
    submit("first")
    wait_for(lambda: under_way(run, "search-000"), lambda: True, lambda: job("logs", "first", check=False))
    job("stop", "first")
    assert "the same command goes on from here" in job("logs", "first")
    stopped = trials(run)
    ended = {name for (name, _), row in stopped.items() if row["state"] == "COMPLETE"}
    assert ended == {"baseline-0"}
    files = contents(run / "trials" / "baseline-0")

    submit("second")
    wait_for(lambda: not is_running("second"), lambda: True, lambda: job("logs", "second", check=False))
    is_the_undisturbed_run(world, run)
    assert contents(run / "trials" / "baseline-0") == files
    assert {of: row for of, row in trials(run).items() if of[0] in ended} == {
        of: row for of, row in stopped.items() if of[0] in ended
    }
