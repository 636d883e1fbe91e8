"""Removes the placement groups that ended trials leave behind: with one left, the next trial could wait for ever."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ray.tune import Callback

from raywce.trial_report import Flat, Report

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

_UNKNOWN_S = 30.0  # the GCS forgets actors that died long ago
_END_S = 60.0


@dataclass(frozen=True)
class _Left:
    controller: str
    group: str
    since: float


class PlacementGroupReaper(Callback):
    """Tune callback: removes an ended trial's placement groups, once the trial's controller is dead.

    Ray Train's own cleaner asks the State API, and does nothing where that can't be reached. To remove a group while
    its controller lives would be worse than nothing: the controller sees its workers die, starts new ones in a new
    group, and leaves that one.
    """

    def __init__(self) -> None:
        self._groups: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self._left: list[_Left] = []

    def __getstate__(self) -> dict[str, object]:
        return {"_groups": defaultdict(set), "_left": []}

    def on_trial_result(self, iteration: int, trials: list[Trial], trial: Trial, result: Flat, **_: object) -> None:
        """Remember each worker group of the trial: a restart has a new one."""
        report = Report.of(result)
        if report.controller_id and report.placement_group_id:
            self._groups[trial.trial_id].add((report.controller_id, report.placement_group_id))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **_: object) -> None:
        """Mark its groups."""
        self._mark(trial.trial_id)

    on_trial_error = on_trial_recover = on_trial_complete

    def on_step_begin(self, iteration: int, trials: list[Trial], **_: object) -> None:
        """Remove marked groups whose controllers are dead."""
        self._left = [left for left in self._left if not _is_gone(left)]

    def on_experiment_end(self, trials: list[Trial], **_: object) -> None:
        """Wait until no marked group is left."""
        for trial_id in list(self._groups):
            self._mark(trial_id)
        end = time.monotonic() + _END_S
        while self._left and time.monotonic() < end:
            self.on_step_begin(0, trials)
            time.sleep(0.2)

    def _mark(self, trial_id: str) -> None:
        self._left += [_Left(*pair, time.monotonic()) for pair in sorted(self._groups.pop(trial_id, ()))]


def _is_gone(left: _Left) -> bool:
    """Return whether controller and group are gone; removes the group of a dead controller."""
    from ray._private import state
    from ray._raylet import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

    controller = state.actors(left.controller).get("State")  # from the GCS itself, no dashboard needed
    forgotten = controller is None and time.monotonic() - left.since > _UNKNOWN_S
    if controller != "DEAD" and not forgotten:
        return False
    group = PlacementGroup(PlacementGroupID(bytes.fromhex(left.group)))
    if placement_group_table(group).get("state") in (None, "REMOVED"):
        return True
    remove_placement_group(group)
    return False
