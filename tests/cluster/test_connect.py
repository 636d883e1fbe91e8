from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raywce.cluster.connect import connect, local_resources, running_address
from raywce.errors import InputError


def test_this_machines_resources_need_no_ray() -> None:
    assert local_resources()["CPU"] == len(os.sched_getaffinity(0))


def test_cpus_that_this_process_may_not_use_do_not_count() -> None:
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_of_them)})
    try:
        assert local_resources()["CPU"] == 1
    finally:
        os.sched_setaffinity(0, all_of_them)


def test_ray_address_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert running_address() == "10.0.0.1:6379"
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert running_address() is None


def test_the_address_that_a_killed_cluster_left_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import services

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(services, "find_bootstrap_address", lambda _: address)
        monkeypatch.setattr(services, "find_gcs_addresses", set)
        assert running_address() is None  # some other program has the port now
        monkeypatch.setattr(services, "find_gcs_addresses", lambda: {address})
        assert running_address() == address
    assert running_address() is None  # a raylet that outlived its GCS


SHOW = """
import json, ray
from raywce.cluster.connect import connect
with connect(num_cpus=1) as cluster:
    workers = dict(ray.get_runtime_context().runtime_env)
    print(json.dumps([cluster.joined, cluster.resources["CPU"], cluster.nodes[0]["CPU"], workers, cluster.address]))
"""


def show(environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What a process that `uv run` started sees, by its parents' command lines."""
    (folder / "uv").unlink(missing_ok=True)
    (folder / "uv").symlink_to("/bin/sh")
    (folder / "run").write_text('"$@"\nexit $?\n')
    command = [str(folder / "uv"), "run", sys.executable, "-c", SHOW]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def short_folder() -> Iterator[str]:
    """Ray's sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="raywce-", ignore_cleanup_errors=True) as folder:
        yield folder


def write_token(home: Path) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)


@pytest.mark.slow
@pytest.mark.parametrize("asks_for_token", [True, False])
def test_joins_a_started_cluster_and_not_a_killed_one(asks_for_token: bool, tmp_path: Path, short_folder: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_AUTH_MODE")}
    environment |= {"HOME": str(tmp_path), "RAY_TMPDIR": short_folder}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ray = str(Path(sys.executable).with_name("ray"))
    start = [ray, "start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    if asks_for_token:  # `ray start` does where this machine has one
        write_token(tmp_path)
    with (tmp_path / "log").open("wb") as log:
        head = subprocess.Popen(start, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            end = time.monotonic() + 60
            while "Ray runtime started" not in (tmp_path / "log").read_text() and time.monotonic() < end:
                time.sleep(0.3)
            if not asks_for_token:  # one that came later must not be in the way
                write_token(tmp_path)
            joined = show(environment, tmp_path)
            assert joined.stdout.startswith("[true, 2.0, 2.0, {}"), joined.stderr
        finally:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait()
    alone = show(environment, tmp_path)
    assert alone.stdout.startswith("[false, 1.0, 1.0, {}"), alone.stderr
    assert alone.stderr == ""


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_a_cluster_that_does_not_answer_is_one_problem(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"RAY_ADDRESS: the cluster must be reachable, but got {address}"), connect():
        pass


def test_a_client_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(InputError, match="must be host:port of the head node, but got ray://head:10001"), connect():
        pass
