from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from raywce.cluster.connect import Cluster

pytestmark = pytest.mark.slow


def test_a_group_is_removed_once_its_controller_is_dead_and_not_before(cluster: Cluster) -> None:
    import ray
    from ray.util.placement_group import placement_group, placement_group_table

    from raywce.search.placement_groups import PlacementGroupReaper

    @ray.remote(num_cpus=0)
    class Controller:
        def ready(self) -> str:
            return ray.get_runtime_context().get_actor_id()

    controller, group = Controller.remote(), placement_group([{"CPU": 2}])
    ray.get(group.ready())
    reaper, trial = PlacementGroupReaper(), SimpleNamespace(trial_id="t")
    ids = {"controller_id": ray.get(controller.ready.remote()), "placement_group_id": group.id.hex()}
    reaper.on_trial_result(0, [], trial, ids)
    reaper.on_step_begin(0, [])
    assert placement_group_table(group)["state"] == "CREATED"  # the trial runs

    reaper.on_trial_complete(0, [], trial)
    reaper.on_step_begin(0, [])
    assert placement_group_table(group)["state"] == "CREATED"  # its controller lives

    ray.kill(controller)
    time.sleep(0.5)
    reaper.on_experiment_end([])
    assert placement_group_table(group)["state"] == "REMOVED"
