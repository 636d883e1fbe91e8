"""Room for trials on the nodes of a cluster: how many fit, what is missing, and waiting for nodes that are to come."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from raywce.errors import Problems, RunFailed
from raywce.experiment.schema import Experiment, Resources

Node = Mapping[str, float]
_LOOK_S, _SAY_S = 2.0, 60.0
HEAD = "node:__internal_head__"  # which Ray gives to its head node


def trials_at_once(resources: Resources, nodes: Sequence[Node]) -> int:
    """Count the trials that the nodes can hold: a trial's workers may spread over nodes, a worker may not."""
    return workers_at_once(resources, nodes) // resources.workers


def workers_at_once(resources: Resources, nodes: Sequence[Node]) -> int:
    """Count the workers that the nodes can hold."""
    return sum(_workers_on(node, resources) for node in nodes)


def searched_at_once(experiment: Experiment, nodes: Sequence[Node]) -> int:
    """Count the trials that a search runs at once on these nodes; at least one, which may wait for others."""
    fitting = max(1, trials_at_once(experiment.resources, nodes))
    return min(fitting, experiment.search.max_concurrent_trials or fitting)


def at_once_on_a_node(experiment: Experiment, nodes: Sequence[Node]) -> tuple[int, str]:
    """Count the trials of one worker that a search runs at once on the node with the most room for them.

    Returns:
        The count, and the name of the resource by which Ray binds a task to that node.
    """
    node = max(nodes, key=lambda one: _workers_on(one, experiment.resources))
    place = next(name for name in node if name.startswith("node:") and name != HEAD)
    return searched_at_once(experiment, [node]), place


def driver_resources(resources: Resources) -> dict[str, float]:
    """Return what the process that drives a trial takes: as the only worker, what that has.

    With several workers it is a place on the head node, or where `resources.drivers_on` is, and no CPU: with a CPU of
    its own, drivers could take all, and no worker would ever start.
    """
    if resources.alone:
        return {"cpu": resources.cpus_per_worker, "gpu": resources.gpus_per_worker}
    return {"cpu": 0, resources.drivers_on or HEAD: 0.001}


def check_resources(wanted: Resources, nodes: Sequence[Node]) -> Problems:
    """Return what the nodes lack to hold one trial, its workers and its driver."""
    problems = Problems()
    fitting = workers_at_once(wanted, nodes)
    if fitting < wanted.workers:
        problems.add(
            "resources.workers",
            "the workers of a trial must fit into the cluster",
            f"{_needed(wanted)} for {_present(nodes)}",
            f"There is room for {fitting}: lower resources.workers or what a worker takes, or join a larger cluster.",
        )
    if not wanted.alone and wanted.drivers_on and not any(node.get(wanted.drivers_on) for node in nodes):
        problems.add(
            "resources.drivers_on",
            "must be a custom resource that a node of the cluster has",
            wanted.drivers_on,
            f"Start a node with --resources='{{\"{wanted.drivers_on}\": 1}}', or leave it out for the head node.",
        )
    return problems


class Room:
    """The room on a cluster whose nodes may come, go and come back."""

    def __init__(
        self,
        experiment: Experiment,
        nodes: Callable[[], Sequence[Node]],
        ask: Callable[[Sequence[Node]], object],
        say: Callable[[str], object],
        wait_s: float,
    ) -> None:
        """Take what the room is measured by.

        Args:
            experiment: what is to run; its `search.max_concurrent_trials` is a bound.
            nodes: gives the resources of each node that is alive.
            ask: asks an autoscaler for bundles of resources; an empty list: none any more.
            say: gets the lines that say what is waited for.
            wait_s: seconds without room for a single trial, after which it is given up.
        """
        self._experiment, self._nodes, self._ask, self._say = experiment, nodes, ask, say
        self._wait_s = wait_s
        self._most = 1
        self._asked_until: float | None = None
        self._none_since: float | None = None
        self._said: tuple[str, float] = ("", -math.inf)

    @contextmanager
    def wanted(self, trials: int) -> Iterator[None]:
        """Ask an autoscaler for the nodes of so many trials at once, and wait until one fits; they run in the block.

        Raises:
            InputError: there was no room for one within `wait_s`.
        """
        bound = self._experiment.search.max_concurrent_trials
        self._most = min(trials, bound) if bound else trials
        end = time.monotonic() + self._wait_s
        self._ask(bundles(self._experiment.resources, self._most))
        self._asked_until = end
        try:
            while (problems := check_resources(self._experiment.resources, nodes := self._nodes())).found:
                left = end - time.monotonic()
                if left <= 0:
                    problems.raise_any()
                self._say_waiting(nodes, 0, 0)
                time.sleep(min(_LOOK_S, left))
            yield
        finally:
            self._ask_no_more()

    def fits(self) -> int:
        """Return how many trials may run now."""
        return min(trials_at_once(self._experiment.resources, self._nodes()), self._most)

    def holds(self, running: int) -> int:
        """Return `fits` where some are running; say so where those don't all fit.

        Raises:
            RunFailed: none fits, and none did for `wait_s`.
        """
        nodes, now = self._nodes(), time.monotonic()
        fitting = trials_at_once(self._experiment.resources, nodes)
        if self._asked_until is not None and (fitting >= self._most or now >= self._asked_until):
            self._ask_no_more()
        if fitting < max(running, 1):
            self._say_waiting(nodes, fitting, running)
        self._none_since = None if fitting else self._none_since or now
        if self._none_since is not None and now - self._none_since > self._wait_s:
            waited = f"no room came for {_needed(self._experiment.resources)} in {self._wait_s:g} s (resources.wait_s)"
            raise RunFailed(f"{waited}: {_present(nodes)}; run the same command to resume")
        return min(fitting, self._most)

    def _ask_no_more(self) -> None:
        """Withdraw the request: else the nodes would stay when nobody uses them."""
        if self._asked_until is not None:
            self._ask([])
            self._asked_until = None

    def _say_waiting(self, nodes: Sequence[Node], fitting: int, running: int) -> None:
        under_way = f"trials under way: {running}, room for: {fitting}, " if running else ""
        text = f"{under_way}waiting for {_needed(self._experiment.resources)}; there are {_present(nodes)}"
        now = time.monotonic()
        if text != self._said[0] or now - self._said[1] >= _SAY_S:
            self._said = (text, now)
            self._say(text)


def bundles(resources: Resources, trials: int) -> list[Node]:
    """Return what the workers of so many trials take, each for itself."""
    return [_of_worker(resources)] * (resources.workers * trials)


def _of_worker(resources: Resources) -> Node:
    wanted = {"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker}
    return {name: amount for name, amount in wanted.items() if amount > 0}


def _workers_on(node: Node, resources: Resources) -> int:
    return min(_times(name, node.get(name, 0.0), amount) for name, amount in _of_worker(resources).items())


def _times(name: str, there: float, amount: float) -> int:
    """Return how often an amount of a resource fits."""
    # A share is one of a single GPU: what is left of two makes no third.
    pieces, size = (int(there), 1.0) if name == "GPU" and amount < 1 else (1, there)
    return pieces * math.floor(size / amount + 1e-9)  # 0.3 / 0.1 is a little less than 3


def _needed(resources: Resources) -> str:
    return f"{resources.workers} x ({resources.cpus_per_worker:g} CPUs, {resources.gpus_per_worker:g} GPUs)"


def _present(nodes: Sequence[Node]) -> str:
    cpus, gpus = (sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
    return f"{cpus:g} CPUs and {gpus:g} GPUs on {len(nodes)} node(s)"
