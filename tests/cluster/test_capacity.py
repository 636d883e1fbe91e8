from __future__ import annotations

from collections.abc import Sequence

import pytest

from raywce.cluster import capacity as room_module
from raywce.cluster.capacity import (
    HEAD,
    Node,
    Room,
    at_once_on_a_node,
    check_resources,
    driver_resources,
    trials_at_once,
)
from raywce.errors import InputError, RunFailed
from raywce.experiment.schema import Data, Experiment, Languages, Model, Resources, Search, Training
from tests.fake_time import FakeTime

CPU_NODE, GPU_NODE = {"CPU": 8.0}, {"CPU": 8.0, "GPU": 1.0}
WAIT_S = 100.0


def experiment(at_once: int | None = None, **resources: float | str) -> Experiment:
    return Experiment(
        name="toy",
        model=Model(checkpoint="openai/whisper-tiny"),
        data=Data(folder="speech"),
        languages=Languages(low_resource=["gl"]),
        training=Training(steps=1),
        search=Search(max_concurrent_trials=at_once),
        resources=Resources(**resources),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("workers", "cpus", "gpus", "nodes", "expected"),
    [
        (2, 1, 0, [{"CPU": 2.0}], 1),
        (2, 1, 0, [{"CPU": 5.0}], 2),
        (2, 1, 0, [{"CPU": 3.0}, {"CPU": 1.0}], 2),  # a trial's workers may spread over nodes
        (1, 4, 0, [{"CPU": 3.0}, {"CPU": 3.0}], 0),  # a worker may not
        (2, 1, 1, [{"CPU": 64.0, "GPU": 4.0}, {"CPU": 8.0}], 2),
        (1, 0.1, 0, [{"CPU": 0.3}], 3),
        (2, 2, 1, [{"CPU": 5.0, "GPU": 4.0}], 1),
        (1, 1, 0.25, [{"CPU": 8.0, "GPU": 1.0}], 4),
        (1, 1, 0.25, [{"CPU": 3.0, "GPU": 1.0}], 3),
        (1, 1, 0.6, [{"CPU": 8.0, "GPU": 3.0}], 3),  # 0.4 of each GPU is left, and no trial spreads over two
        (1, 1, 0.1, [{"CPU": 32.0, "GPU": 1.0}, {"CPU": 32.0, "GPU": 2.0}], 30),
        (1, 1, 0, [], 0),
    ],
)
def test_how_many_trials_fit(workers, cpus, gpus, nodes, expected) -> None:
    resources = Resources(workers=workers, cpus_per_worker=cpus, gpus_per_worker=gpus)
    assert trials_at_once(resources, nodes) == expected


@pytest.mark.parametrize(
    ("bound", "resources", "expected"),
    [
        (None, {"cpus_per_worker": 2}, (4, "node:b")),
        (3, {"cpus_per_worker": 2}, (3, "node:b")),
        (None, {"cpus_per_worker": 1, "gpus_per_worker": 0.5}, (2, "node:a")),
        (None, {"cpus_per_worker": 64}, (1, "node:a")),  # none fits yet
    ],
)
def test_how_many_trials_of_one_worker_a_node_holds(
    bound: int | None, resources: dict[str, float], expected: tuple[int, str]
) -> None:
    nodes = [{HEAD: 1.0, "node:a": 1.0, **GPU_NODE, "CPU": 4.0}, {"node:b": 1.0, **CPU_NODE}]
    assert at_once_on_a_node(experiment(bound, **resources), nodes) == expected


def test_more_workers_than_the_cluster_has_is_one_problem_with_both_figures() -> None:
    problems = check_resources(Resources(workers=3), [{"CPU": 2.0}])
    with pytest.raises(InputError, match=r"resources\.workers.*3 x \(1 CPUs, 0 GPUs\) for 2 CPUs") as caught:
        problems.raise_any()
    assert len(caught.value.problems) == 1
    assert not check_resources(Resources(workers=2), [{"CPU": 2.0}]).found
    assert check_resources(Resources(gpus_per_worker=1), [{"CPU": 8.0}]).found


def test_a_worker_must_fit_on_one_node() -> None:
    nodes = [{"CPU": 3.0}, {"CPU": 3.0}]
    assert check_resources(Resources(cpus_per_worker=4), nodes).found
    assert not check_resources(Resources(cpus_per_worker=3, workers=2), nodes).found


def test_drivers_take_no_cpu_and_go_where_they_are_sent() -> None:
    assert driver_resources(Resources(workers=2)) == {"cpu": 0, "node:__internal_head__": 0.001}
    assert driver_resources(Resources(workers=2, drivers_on="steering")) == {"cpu": 0, "steering": 0.001}
    sent = experiment(drivers_on="steering", workers=2)
    assert not check_resources(sent.resources, [CPU_NODE, {"CPU": 1.0, "steering": 1.0}]).found
    with pytest.raises(InputError, match=r"resources\.drivers_on.*steering"):
        check_resources(sent.resources, [CPU_NODE]).raise_any()


def test_the_only_worker_is_the_driver_and_goes_where_there_is_room() -> None:
    resources = Resources(cpus_per_worker=4, gpus_per_worker=0.5, drivers_on="steering")
    assert driver_resources(resources) == {"cpu": 4, "gpu": 0.5}
    assert not check_resources(Resources(drivers_on="steering"), [CPU_NODE]).found


class Cluster:
    """Nodes by the second at which they come; what an autoscaler was asked for, and what was said."""

    def __init__(self, time: FakeTime, *stages: tuple[float, Sequence[Node]]) -> None:
        self.time, self.stages = time, stages
        self.asked: list[Sequence[Node]] = []
        self.said: list[str] = []

    def nodes(self) -> Sequence[Node]:
        return [list(nodes) for since, nodes in self.stages if since <= self.time.now][-1]

    def room(self, of: Experiment, wait_s: float = WAIT_S) -> Room:
        return Room(of, self.nodes, self.asked.append, self.said.append, wait_s)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(room_module, "time", fake)
    return fake


def test_waits_for_the_nodes_of_one_trial_and_says_for_what(time: FakeTime) -> None:
    cluster = Cluster(time, (0, [CPU_NODE]), (70, [CPU_NODE, GPU_NODE, GPU_NODE]))
    with cluster.room(experiment(workers=2, gpus_per_worker=1)).wanted(3):
        assert 70 <= time.now < 75
    needs = "waiting for 2 x (1 CPUs, 1 GPUs); there are 8 CPUs and 0 GPUs on 1 node(s)"
    assert cluster.said == [needs, needs]  # once a minute


def test_asks_for_all_trials_at_once_and_no_longer_than_needed(time: FakeTime) -> None:
    of = experiment(workers=2, gpus_per_worker=1)
    cluster = Cluster(time, (0, [GPU_NODE] * 2), (30, [GPU_NODE] * 6))
    room = cluster.room(of)
    with room.wanted(3):
        assert cluster.asked == [[{"CPU": 1.0, "GPU": 1.0}] * 6]
        assert room.holds(0) == 1
        assert len(cluster.asked) == 1
        time.now = 30
        assert room.holds(1) == 3
        assert cluster.asked[1:] == [[]]
    assert cluster.asked[1:] == [[]]
    assert cluster.said == []


def test_an_autoscaler_that_brings_less_is_not_asked_for_ever(time: FakeTime) -> None:
    cluster = Cluster(time, (0, [CPU_NODE]))
    room = cluster.room(experiment(cpus_per_worker=4))
    with room.wanted(3):
        assert room.holds(0) == 2
        time.now = WAIT_S
        assert room.holds(2) == 2
        assert cluster.asked[-1] == []


def test_what_is_asked_for_ends_with_the_trials_however_they_end(time: FakeTime) -> None:
    cluster = Cluster(time, (0, [CPU_NODE]))
    with pytest.raises(KeyboardInterrupt), cluster.room(experiment(cpus_per_worker=8)).wanted(3):
        raise KeyboardInterrupt
    assert cluster.asked[-1] == []


def test_no_more_at_once_than_the_file_allows_or_than_are_left(time: FakeTime) -> None:
    cluster = Cluster(time, (0, [CPU_NODE]))
    with (room := cluster.room(experiment(at_once=2))).wanted(5):
        assert room.holds(0) == 2
    with (room := cluster.room(experiment())).wanted(5):
        assert room.holds(0) == 5
    with (room := cluster.room(experiment())).wanted(50):
        assert room.holds(0) == 8


def test_a_search_that_never_fits_is_refused_when_its_patience_ends(time: FakeTime) -> None:
    cluster = Cluster(time, (0, [CPU_NODE]))
    with (
        pytest.raises(InputError, match=r"resources\.workers: the workers of a trial must fit"),
        cluster.room(experiment(gpus_per_worker=1)).wanted(1),
    ):
        raise AssertionError
    assert time.now == WAIT_S
    with pytest.raises(InputError), cluster.room(experiment(gpus_per_worker=1), wait_s=0).wanted(1):
        raise AssertionError
    assert time.now == WAIT_S


def test_lost_nodes_are_waited_for_told_of_and_given_up(time: FakeTime) -> None:
    cluster = Cluster(time, (0, [CPU_NODE, GPU_NODE]), (10, [CPU_NODE]), (20, [GPU_NODE]), (30, [CPU_NODE]))
    room = cluster.room(experiment(gpus_per_worker=1))
    with room.wanted(1):
        assert room.holds(1) == 1
        assert cluster.said == []
        time.now = 10
        assert room.holds(1) == 0
        lost = "trials under way: 1, room for: 0, waiting for 1 x (1 CPUs, 1 GPUs)"
        assert [line.partition(";")[0] for line in cluster.said] == [lost]
        time.now = 20
        assert room.holds(1) == 1
        time.now = 30
        assert room.holds(1) == 0
        time.now = 30 + WAIT_S
        assert room.holds(1) == 0
        time.now += 1
        with pytest.raises(
            RunFailed, match=r"no room came for 1 x \(1 CPUs, 1 GPUs\) in 100 s.*same command to resume"
        ):
            room.holds(1)
