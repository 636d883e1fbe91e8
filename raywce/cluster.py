"""The Ray cluster that a command works on: one that runs already is joined, else a local one is started."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from raywce.errors import Problems, fail
from raywce.experiment.schema import Experiment, Resources

_TOKEN_NOTICES = "ray._private.authentication.authentication_token_setup"  # that its safe default is on
_UNREACHABLE = "Start it (ray start --head), or unset RAY_ADDRESS for a local one."
_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to.

    Attributes:
        address: its GCS address, host:port.
        joined: it ran before, and goes on afterwards.
        nodes: the resources of each node that is alive, the head node first.
    """

    address: str
    joined: bool
    nodes: tuple[Mapping[str, float], ...]

    @property
    def resources(self) -> dict[str, float]:
        """All nodes' resources, added up."""
        names = {name for node in self.nodes for name in node}
        return {name: sum(node.get(name, 0.0) for node in self.nodes) for name in sorted(names)}

    @property
    def head_node(self) -> Mapping[str, float]:
        """The head node's resources."""
        return self.nodes[0]

    def __str__(self) -> str:
        what = "joined the Ray cluster at" if self.joined else "started a local Ray cluster at"
        gpus = self.resources.get("GPU", 0)
        return f"{what} {self.address}: {len(self.nodes)} nodes, {self.resources.get('CPU', 0):g} CPUs, {gpus:g} GPUs"


@contextmanager
def connect(num_cpus: int | None = None) -> Iterator[Cluster]:
    """Join RAY_ADDRESS (`ray job submit` sets it) or this machine's running cluster, else start a local one.

    A process that is connected already keeps its connection. A cluster that was started here stops at the end.

    Args:
        num_cpus: CPUs of a cluster started here; None: all of the machine.

    Raises:
        InputError: the cluster can't be joined.
    """
    import ray

    address = running_address()
    with nullcontext() if ray.is_initialized() else _connection(address, num_cpus):
        gcs = ray.get_runtime_context().gcs_address
        yield Cluster(gcs, address is not None, _alive_nodes())


@contextmanager
def _connection(address: str | None, num_cpus: int | None) -> Iterator[None]:
    import ray

    logging.getLogger(_TOKEN_NOTICES).setLevel(logging.ERROR)
    # Ray's own notices at start, and its workers' prints, would tear the progress table apart; its warnings stay.
    quiet = {"log_to_driver": False, "logging_level": "WARNING", "configure_logging": True}
    if address is None:
        # The State API needs the dashboard: Ray Train asks it whether a stopped trial's controller lives.
        ray.init(address="local", num_cpus=num_cpus, include_dashboard=True, **quiet)
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

    if "://" not in address and not _answers(address):  # Ray would try for minutes
        fail("RAY_ADDRESS", "the cluster must be reachable", address, _UNREACHABLE)
    # `ray start --head` turns tokens on; ray.init shows this machine's only to clusters that it found by itself.
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        ray.init(address=address, **quiet)
    except AuthenticationError:
        do = "set RAY_AUTH_MODE=token, and put the token of the cluster's head node into ~/.ray/auth_token"
        fail("RAY_ADDRESS", "the cluster must accept this machine's token", f"a refusal by {address}", do)
    except (ConnectionError, RuntimeError, ValueError) as error:
        fail("RAY_ADDRESS", "the cluster must be reachable", f"{address} ({_first_line(error)})", _UNREACHABLE)


def running_address() -> str | None:
    """The address of the cluster to join: RAY_ADDRESS, or that of a live `ray start --head` on this machine.

    The file in which `ray start` leaves its address outlives a killed cluster: it counts only where a raylet of that
    cluster runs on this machine and the address answers.
    """
    given = os.environ.get("RAY_ADDRESS")
    if given:
        return None if given == "local" else given if given != "auto" else _started_here()
    return _started_here()


def _started_here() -> str | None:
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


def _alive_nodes() -> tuple[Mapping[str, float], ...]:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return tuple(sorted(nodes, key=lambda node: "node:__internal_head__" not in node))


def local_resources() -> dict[str, float]:
    """This machine's CPUs and GPUs, without starting Ray."""
    import torch

    return {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}


def trials_at_once(resources: Resources, nodes: Sequence[Mapping[str, float]]) -> int:
    """How many trials the nodes can hold: a trial's workers may spread over nodes, a worker may not."""
    return sum(_workers_on(node, resources) for node in nodes) // resources.workers


def check_resources(
    experiment: Experiment, resources: Mapping[str, float], nodes: Sequence[Mapping[str, float]] = ()
) -> Problems:
    """Whether one trial's workers fit.

    Args:
        experiment: what is to run.
        resources: all nodes' added up (`local_resources` before Ray is started, `Cluster.resources` after it).
        nodes: each node's, where known: a worker must fit on one of them.
    """
    problems, wanted = Problems(), experiment.resources
    fitting = sum(_workers_on(node, wanted) for node in nodes or [resources])
    if fitting < wanted.workers:
        need = f"{wanted.workers} x ({wanted.cpus_per_worker:g} CPUs, {wanted.gpus_per_worker:g} GPUs)"
        have = f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs on {max(len(nodes), 1)} node(s)"
        problems.add(
            "resources.workers",
            "the workers of a trial must fit into the cluster",
            f"{need} for {have}",
            f"Room is for {fitting}: lower resources.workers or what a worker takes, or join a larger cluster.",
        )
    return problems


def _workers_on(node: Mapping[str, float], resources: Resources) -> int:
    wanted = {"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker}
    # 0.3 / 0.1 is a little less than 3.
    return min(math.floor(node.get(name, 0.0) / amount + 1e-9) for name, amount in wanted.items() if amount > 0)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
