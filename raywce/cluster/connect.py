"""The Ray cluster that a command works on: one that runs already is joined, else a local one is started."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from raywce.cluster.capacity import HEAD, Node, Room
from raywce.errors import fail, one_line
from raywce.experiment.schema import Experiment

_TOKEN_NOTICES = "ray._private.authentication.authentication_token_setup"  # that its safe default is on
_LOCAL = "or set RAY_ADDRESS=local for a cluster of its own."
_UNREACHABLE = f"Start it (ray start --head), {_LOCAL}"
_PATIENCE_S = 2.0
_UV = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to.

    Attributes:
        address: its GCS address, host:port.
        joined: whether it ran before, and runs on afterwards.
        nodes: the resources of each node that is alive, the head node first.
    """

    address: str
    joined: bool
    nodes: tuple[Node, ...]

    @property
    def resources(self) -> dict[str, float]:
        """Return all nodes' resources, added up."""
        names = {name for node in self.nodes for name in node}
        return {name: sum(node.get(name, 0.0) for node in self.nodes) for name in sorted(names)}

    def room(self, experiment: Experiment, say: Callable[[str], object]) -> Room:
        """Return the room for an experiment's trials; nodes are waited for only on a cluster that was joined."""
        return Room(experiment, alive_nodes, ask_autoscaler, say, experiment.resources.wait_s if self.joined else 0)

    def __str__(self) -> str:
        what = "joined the Ray cluster at" if self.joined else "started a local Ray cluster at"
        gpus = self.resources.get("GPU", 0)
        return (
            f"{what} {self.address} (nodes: {len(self.nodes)}, CPUs: {self.resources.get('CPU', 0):g}, GPUs: {gpus:g})"
        )


@contextmanager
def connect(num_cpus: int | None = None, num_gpus: int | None = None) -> Iterator[Cluster]:
    """Join RAY_ADDRESS (`ray job submit` sets it) or this machine's running cluster, else start a local one.

    A process that is connected already keeps its connection. A cluster that was started here stops at the end.

    Args:
        num_cpus: CPUs of a cluster started here; None: all that this process may use, by affinity and cgroup.
        num_gpus: GPUs likewise.

    Raises:
        InputError: the cluster can't be joined.
    """
    import ray

    address = running_address()
    with nullcontext() if ray.is_initialized() else _connection(address, num_cpus, num_gpus):
        gcs = ray.get_runtime_context().gcs_address
        yield Cluster(gcs, address is not None, alive_nodes())


@contextmanager
def _connection(address: str | None, num_cpus: int | None, num_gpus: int | None) -> Iterator[None]:
    import ray
    from loky import cpu_count
    from ray._private import ray_constants

    if _UV not in os.environ:
        # Under `uv run`, Ray would copy the working folder to each node, speech and runs with it, and install it again.
        ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    logging.getLogger(_TOKEN_NOTICES).setLevel(logging.ERROR)
    # Ray's own notices at start, and its workers' prints, would tear the progress table apart; its warnings stay.
    quiet = {"log_to_driver": False, "logging_level": "WARNING", "configure_logging": True}
    if address is None:
        # The State API needs the dashboard: Ray Train asks it whether a stopped trial's controller lives.
        ray.init(address="local", num_cpus=num_cpus or cpu_count(), num_gpus=num_gpus, include_dashboard=True, **quiet)
    else:
        _join(address, quiet)
    try:
        yield
    finally:
        ray.shutdown()


def _join(address: str, quiet: dict[str, object]) -> None:
    import ray
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    from ray.exceptions import AuthenticationError

    if "://" in address:
        fail("RAY_ADDRESS", "must be host:port of the head node", address, f"Use ray job submit from afar, {_LOCAL}")
    if not _answers(address):  # Ray would try for minutes
        fail("RAY_ADDRESS", "the cluster must be reachable", address, _UNREACHABLE)
    # `ray start --head` turns tokens on; ray.init shows this machine's only to clusters that it found by itself.
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        ray.init(address=address, **quiet)
    except AuthenticationError:
        do = f"Set RAY_AUTH_MODE=token, and put the token of the head node into ~/.ray/auth_token, {_LOCAL}"
        fail("RAY_ADDRESS", "the cluster must accept this machine's token", f"a refusal by {address}", do)
    except (ConnectionError, RuntimeError, ValueError) as error:  # of other versions too, which it lists by line
        fail("RAY_ADDRESS", "the cluster must be reachable", f"{address} ({one_line(error)})", _UNREACHABLE)


def running_address() -> str | None:
    """Return the address of the cluster to join: RAY_ADDRESS, or that of a live `ray start --head` on this machine.

    The file in which `ray start` leaves its address outlives a killed cluster: it counts only where a raylet of that
    cluster runs on this machine and the address answers.
    """
    given = os.environ.get("RAY_ADDRESS")
    if given and given != "auto":
        return None if given == "local" else given
    from ray._private.services import find_bootstrap_address, find_gcs_addresses

    address: str | None = find_bootstrap_address(None)
    return address if address and address in find_gcs_addresses() and _answers(address) else None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()
    except (OSError, ValueError):
        return False
    return True


def alive_nodes() -> tuple[Node, ...]:
    """Return the resources of each node of the connected cluster, the head node first."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return tuple(sorted(nodes, key=lambda node: HEAD not in node))


def local_resources() -> dict[str, float]:
    """Return the CPUs and GPUs of this machine that this process may use, without starting Ray."""
    import torch
    from loky import cpu_count

    return {"CPU": float(cpu_count()), "GPU": float(torch.cuda.device_count())}


def ask_autoscaler(bundles: Sequence[Node]) -> None:
    """Ask the connected cluster's autoscaler, where it has one, for nodes for all these bundles of resources.

    It holds until the next call, and keeps the nodes that long: an empty list ends it.
    """
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=[dict(bundle) for bundle in bundles])
