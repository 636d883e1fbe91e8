"""Keeps the disk use of a search bounded: what ended trials no longer need is removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyarrow import fs

from raywce.runs.folder import CHECKPOINT, STATE_FILE, RunFolder, checkpoint_name
from raywce.runs.tables import TrialTable
from raywce.selection.trials import COMPLETE, PHASES, RUNNING, SEARCH
from raywce.storage.files import delete_file, delete_folder, entries

_TRIALS = "trials"
_OURS = tuple(f"{phase}-" for phase in PHASES)  # how the names of trials begin


def best_trials(last_rows: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    """The best of the complete trials: feasible ones first, by objective, then those nearest to feasible."""

    def order(row: Mapping[str, Any]) -> tuple[bool, float, float, str]:
        beyond = 0.0 if row["feasible"] else row["violation"]
        return not row["feasible"], beyond, row["objective"], row["trial_id"]

    complete = (row for row in last_rows if row["state"] == COMPLETE and row.get("objective") is not None)
    return [row["trial_id"] for row in sorted(complete, key=order)[:count]]


class Sweeper:
    """Removes, of trials that have ended in the written table, all but the models that are to stay.

    Of the search phase, those of the best trials stay; of baseline and confirm phase, all. A trial that is to go on
    needs the optimizer's state beside the weights; an ended one does not.
    """

    def __init__(self, folder: RunFolder, keep: int) -> None:
        """Say where and how many: `search.keep_models`."""
        self._folder, self._keep = folder, keep
        self._swept: dict[str, bool] = {}  # by trial, whether its model stayed

    def sweep(self, table: TrialTable) -> None:
        """After the table was written: trials that have ended since the last time, or are no longer among the best."""
        last = {trial_id: table.of(trial_id)[-1] for phase in PHASES for trial_id in table.trial_ids(phase)}
        best = best_trials([row for row in last.values() if row["phase"] == SEARCH], self._keep)
        for trial_id, row in last.items():
            stays = row["state"] == COMPLETE and (row["phase"] != SEARCH or trial_id in best)
            if row["state"] != RUNNING and self._swept.get(trial_id) is not stays:
                self._clear(trial_id, checkpoint_name(row["step"]) if stays else None)
                self._swept[trial_id] = stays

    def sweep_all(self, table: TrialTable) -> None:
        """At the end of a phase: also what stopped trials wrote last, and trials that the table does not know."""
        self._swept.clear()
        self.sweep(table)
        for info in entries(self._folder.path(_TRIALS)):
            is_ours = info.type is fs.FileType.Directory and info.base_name.startswith(_OURS)
            if is_ours and info.base_name not in table.trials:
                delete_folder(self._folder.path(_TRIALS, info.base_name))

    def _clear(self, trial_id: str, stays: str | None) -> None:
        for info in entries(self._folder.path(_TRIALS, trial_id)):
            checkpoint = self._folder.path(_TRIALS, trial_id, info.base_name)
            if info.base_name == stays:
                delete_file(f"{checkpoint}/{STATE_FILE}")
            elif info.base_name.startswith(CHECKPOINT):
                delete_folder(checkpoint)
