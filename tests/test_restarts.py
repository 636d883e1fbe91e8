"""A search on the demo world that is disturbed in every way, and resumed by the same command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest

from raywce.search.study import open_journal
from tests.demo_world import (
    CHECKPOINT_EVERY,
    ONE_WORKER,
    SEARCH,
    World,
    contents,
    kill_with_ray,
    lasting,
    needs_a_voice,
    trials,
)
from tests.ray_nodes import ray_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), needs_a_voice]

Process = subprocess.Popen[bytes]


@contextmanager
def surviving_cluster() -> Iterator[dict[str, str]]:
    """A cluster of one CPU that outlives the commands on it; gives what makes them join it."""
    with (
        tempfile.TemporaryDirectory(prefix="raywce-", ignore_cleanup_errors=True) as folder,
        ray_nodes(Path(folder), cpus=(1,)) as nodes,
    ):
        yield nodes.environment


@contextmanager
def own_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A small file system of its own at `folder`; None where this machine allows no mounts."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}M", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a full disk needs a file system that can be filled: mounting one is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def states(run: Path) -> dict[str, str]:
    return {name: row["state"] for (name, _), row in trials(run).items()}


def running(run: Path, suggestion: str, after: int = CHECKPOINT_EVERY) -> Callable[[], bool]:
    """Whether that trial has come past a step since now, and its end is not near."""
    before = trials(run)

    def now() -> bool:
        rows = trials(run).items()
        steps = [step or 0 for (name, step), row in rows if name.startswith(suggestion) and row not in before.values()]
        return max(steps, default=0) > after

    return now


def check_study(run: Path) -> None:
    """The Optuna study says what the table says."""
    study = optuna.load_study(study_name="demo", storage=open_journal(run / "optuna.journal"))
    told = {trial.user_attrs["trial_id"]: (trial.state.name, trial.value) for trial in study.get_trials(deepcopy=False)}
    last = {name: row for (name, _), row in trials(run).items() if name.startswith("search")}
    assert told == {name: (row["state"], row["objective"]) for name, row in last.items()}


def press_ctrl_c(process: Process) -> None:
    os.killpg(process.pid, signal.SIGINT)


def fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as stream:
        while True:
            try:
                stream.write(bytes(1 << 20))
            except OSError:
                return


def make_read_only(disk: Path) -> None:
    """By a second mount over it: the first one has files that are open for writing."""
    subprocess.run(["mount", "--bind", str(disk), str(disk)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True)


def make_writable(disk: Path) -> None:
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_search_that_is_disturbed_in_every_way_ends_with_the_undisturbed_tables(
    world: World, undisturbed: Path
) -> None:
    with own_disk(world.folder / "disk", 800) as disk, surviving_cluster() as joining:
        joined = replace(world, joining=joining)
        arguments, run = world.of(disk, ONE_WORKER), disk / "demo"

        def disturb(
            during: str,
            do: Callable[[Process], object],
            repair: Callable[[], object] | None = None,
            on: World = joined,
        ) -> str:
            """Once that trial is under way; gives what the command said."""
            code = on.disturb("search", arguments, running(run, during), do)
            if repair:
                repair()
            said, after = on.log, trials(run)
            assert code not in (0, 3), said
            assert states(run)[next(name for name in states(run) if name.startswith(during))] == "RUNNING"
            seen.append({of: row for of, row in after.items() if row["state"] != "RUNNING"})
            return said

        seen: list[dict[Any, Any]] = []
        disturb("baseline-0", kill_with_ray, on=world)
        assert "run the same command to resume" in disturb("search-000", press_ctrl_c)
        said = disturb("search-001", lambda _: fill(disk), (disk / "ballast").unlink)
        assert "No space left on device" in said
        assert "run the same command to resume" in said
        said = disturb("search-001", lambda _: make_read_only(disk), lambda: make_writable(disk))
        assert "Read-only file system" in said
        assert "run the same command to resume" in said
        assert "Traceback" not in said

        files = {name: contents(run / "trials" / name) for name, state in states(run).items() if state == "COMPLETE"}
        joined.run("search", *arguments, "--resume", codes=(0, 3))
        compare(run, undisturbed)
        for earlier in seen:  # what has ended does not run again
            assert earlier.items() <= trials(run).items()
        assert len(files) == 2
        assert all(contents(run / "trials" / name).items() <= before.items() for name, before in files.items())
        check_study(run)


def compare(run: Path, undisturbed: Path) -> None:
    assert lasting(trials(run)) == lasting(trials(undisturbed))
    tables = [pq.read_table(folder / "utterances.parquet") for folder in (run, undisturbed)]
    assert tables[0].equals(tables[1])
    figures = [json.loads((folder / "outcome.json").read_text()) for folder in (run, undisturbed)]
    assert {**figures[0], "tables": None} == {**figures[1], "tables": None}


def test_a_storage_that_cannot_be_written_is_refused_before_ray_is_started(world: World) -> None:
    (world.folder / "file").write_text("no folder")
    before = world.clusters
    code = world.run("search", *world.of(world.folder / "file", [*SEARCH, "search.trials=1"]), codes=(2,))
    assert code == 2
    assert "must be writable" in world.log
    assert world.clusters == before
