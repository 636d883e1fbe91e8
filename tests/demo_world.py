"""The demo world made small: its speech prepared, and commands on it as a user calls them, to be killed if need be."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raywce.demo.corpus import CorpusSize, write_corpus

EXPERIMENT = Path(__file__).with_name("demo_world.yaml")
LOW_RESOURCE, HIGH_RESOURCE = "gl", ["es", "pt", "fr", "de", "en"]
SIZE = CorpusSize(train=120, low_resource_train=40, dev=20, low_resource_dev=40)
CHECKPOINT_EVERY = 4
PASSING = ("time_s", "placement_group_id", "controller_id", "restarts", "checkpoint", "utterances")  # differ by run
PATIENCE_S = 300
SEARCH_STEPS, FLOOR = 8, 3.0
SEARCH = [f"training.steps={SEARCH_STEPS}", "search.baseline_seeds=1", "search.points=none"]
SEARCH += [f"search.constraints.absolute_floor={FLOOR}"]
ONE_WORKER = [*SEARCH, "search.trials=2", "resources.workers=1", "search.max_concurrent_trials=1"]

needs_a_voice = pytest.mark.skipif(
    util.find_spec("espeakng_loader") is None, reason="espeakng_loader speaks the demo corpus"
)


@dataclass(frozen=True)
class World:
    """Prepared speech, and commands as a user calls them, on Ray clusters of their own or on one that they join.

    Attributes:
        ray: where Ray's files are.
        joining: environment variables that name a running cluster; None: each command starts its own.
    """

    folder: Path
    ray: Path
    joining: Mapping[str, str] | None = None

    @property
    def speech(self) -> Path:
        return self.folder / "speech"

    def begin(self, command: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Start a command, in a process group of its own as a shell does."""
        alone = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        environment = dict(self.joining or {**alone, "RAY_TMPDIR": str(self.ray)})
        environment["RAY_gcs_rpc_server_reconnect_timeout_s"] = "10"  # to give a killed cluster up; 60 by default
        with (self.folder / "log").open("wb") as log:
            line = [sys.executable, "-m", "raywce", command, *map(str, arguments)]
            return subprocess.Popen(
                line, stdout=log, stderr=log, cwd=self.folder, env=environment, start_new_session=True
            )

    def run(self, command: str, *arguments: object, codes: tuple[int, ...] = (0,)) -> int:
        code = self.begin(command, *arguments).wait()
        assert code in codes, self.log
        return code

    @property
    def log(self) -> str:
        """What the last command said."""
        return (self.folder / "log").read_text()

    @property
    def clusters(self) -> set[Path]:
        """Sessions of all clusters so far."""
        return set((self.ray / "ray").glob("session_*-*"))

    def of(self, storage: Path | str, changes: list[str], speech: str | None = None) -> list[str]:
        """Arguments of train and search, with a checkpoint and a report often enough to be cut off between them."""
        often = [f"training.checkpoint_every={CHECKPOINT_EVERY}", "training.log_every=1"]
        surroundings = [f"data.folder={speech or self.speech}", f"data.cache={self.folder / 'cache'}"]
        return [str(EXPERIMENT), *surroundings, *often, *changes, f"storage={storage}"]

    def disturb(
        self,
        command: str,
        arguments: list[str],
        when: Callable[[], bool],
        do: Callable[[subprocess.Popen[bytes]], object],
    ) -> int:
        """Begin a command, do something to it as soon as `when` says so, and wait for its exit code."""
        process = self.begin(command, *arguments)
        try:
            wait_for(when, lambda: process.poll() is None, lambda: self.log)
            do(process)
            return process.wait(timeout=PATIENCE_S)
        finally:
            kill_with_ray(process)


@dataclass(frozen=True)
class Searched:
    """A finished search: its run folder, arguments, exit code, and the figures of `--json`."""

    run: Path
    arguments: list[str]
    code: int
    figures: dict[str, Any]


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    """Generate and prepare the speech; Ray's files are in a folder of their own, as its sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="raywce-", ignore_cleanup_errors=True) as ray:
        world = World(folder, Path(ray))
        write_corpus(folder / "demo", SIZE, splits=("train", "dev"), jobs=os.cpu_count() or 1)
        world.run("prepare", folder / "demo", "--out", world.speech, "--max-seconds", 3)
        yield world


def wait_for(when: Callable[[], bool], alive: Callable[[], bool], log: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not when():
        assert alive(), f"it ended by itself: {log()}"
        assert time.monotonic() < end, log()
        time.sleep(0.1)


def command_lines(parent: int) -> dict[int, list[str]]:
    """The command lines of a process's descendants by their ids, without those that end meanwhile."""
    lines = {}
    for process in psutil.Process(parent).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a zombie counts as one
            lines[process.pid] = process.cmdline()
    return lines


def kill_with_ray(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a command and the whole cluster that it started, at once."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        tree = [root, *root.children(recursive=True)]
        for one in tree:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()
        psutil.wait_procs(tree, timeout=30)


def reports(run: Path) -> dict[int, dict[str, Any]]:
    """The reports of a training by step; empty as long as there are none."""
    file = run / "reports.parquet"
    return {row["step"]: row for row in snapshot(file)} if file.exists() else {}


def trials(run: Path) -> dict[tuple[str, int | None], dict[str, Any]]:
    """The rows of trials.parquet by trial and step; empty as long as there are none."""
    file = run / "trials.parquet"
    return by_step(snapshot(file) if file.exists() else [])


def by_step(rows: list[dict[str, Any]]) -> dict[tuple[str, int | None], dict[str, Any]]:
    """Rows of trials.parquet by trial and step."""
    return {(row["trial_id"], row["step"]): row for row in rows}


def snapshot(file: Path) -> list[dict[str, Any]]:
    """The rows of a parquet file that another process may replace at any moment: read in one go."""
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(file.read_bytes())).to_pylist()
    return rows


def lasting(rows: Mapping[Any, Mapping[str, Any]]) -> dict[Any, dict[str, Any]]:
    """The rows without what differs between two runs of the same."""
    return {
        of: {name: value for name, value in row.items() if name not in PASSING and value is not None}
        for of, row in rows.items()
    }


def contents(folder: Path) -> dict[Path, int]:
    """All files inside, each with the time of its last change."""
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
