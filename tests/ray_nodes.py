"""A Ray cluster of several nodes on this machine, each with its processes, ports and resources, behind a token."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.demo_world import PATIENCE_S, command_lines, kill_with_ray
from tests.ports import free_ports

RAY = str(Path(sys.executable).with_name("ray"))


@dataclass
class Nodes:
    """The running nodes, the head first; `environment` makes a command join it and lets it in."""

    port: int
    dashboard_port: int
    environment: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    def add(self, cpus: int) -> None:
        """Start a node, the head where there is none yet, and wait until the cluster counts it."""
        free = free_ports(4)
        own = ["--dashboard-agent-listen-port", "--dashboard-agent-grpc-port", "--metrics-export-port"]
        ports = [f"{name}={port}" for name, port in zip(own, free[1:], strict=True)]
        if self.running:
            where = [f"--address=127.0.0.1:{self.port}"]
        else:
            where = ["--head", f"--port={self.port}", f"--dashboard-port={self.dashboard_port}"]
            where += [f"--temp-dir={self.environment['RAY_TMPDIR']}", f"--ray-client-server-port={free[0]}"]
        line = [RAY, "start", *where, *ports, f"--num-cpus={cpus}", "--node-ip-address=127.0.0.1", "--block"]
        with Path(self.environment["RAY_TMPDIR"], f"node-{len(self.running)}.log").open("wb") as log:
            self.running.append(
                subprocess.Popen(line, env=self.environment, stdout=log, stderr=log, start_new_session=True)
            )
        end = time.monotonic() + PATIENCE_S
        while self._alive() < len(self.running):
            assert time.monotonic() < end, "the node did not come up"
            time.sleep(1)

    def with_worker(self) -> subprocess.Popen[bytes]:
        """The node on which a trial with one worker runs."""
        for node in self.running:
            if any("ray::ImplicitFunc" in " ".join(line) for line in command_lines(node.pid).values()):
                return node
        raise LookupError("no node has a worker")

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """SIGKILL for all of its processes."""
        kill_with_ray(node)
        self.running.remove(node)

    def drain(self, node: subprocess.Popen[bytes], seconds: int) -> None:
        """Tell the cluster that a node will be taken away, as a cloud does with its spot machines."""
        identity = next(
            part.partition("=")[2]
            for line in command_lines(node.pid).values()
            for part in line
            if part.startswith("--node_id=")
        )
        why = [
            "--reason=DRAIN_NODE_REASON_PREEMPTION",
            "--reason-message=spot",
            f"--deadline-remaining-seconds={seconds}",
        ]
        line = [RAY, "drain-node", f"--address=127.0.0.1:{self.port}", f"--node-id={identity}", *why]
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def status_without_token(self) -> int:
        """What the job API answers to a stranger."""
        try:
            with urllib.request.urlopen(f"{self.dashboard}/api/jobs/", timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def _alive(self) -> int:
        line = [sys.executable, "-c", "import ray; ray.init(); print(sum(node['Alive'] for node in ray.nodes()))"]
        found = subprocess.run(line, env=self.environment, capture_output=True, text=True, check=False).stdout.split()
        return int(found[-1]) if found else 0


@contextmanager
def ray_nodes(folder: Path, cpus: Sequence[int]) -> Iterator[Nodes]:
    """A cluster whose nodes have these CPUs, the head first; `folder` has a short path, for Ray's sockets."""
    port, dashboard_port = free_ports(2)
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_TMPDIR": str(folder)}
    address = {"RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_health_check_period_ms": "1000"}
    nodes = Nodes(port, dashboard_port, {**os.environ, **own, **address})
    try:
        for count in cpus:
            nodes.add(count)
        yield nodes
    finally:
        for node in nodes.running:
            kill_with_ray(node)
