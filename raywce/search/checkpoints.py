"""Removes what ended trials no longer need, so that the disk use of a search is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from statistics import fmean

from pyarrow import fs

from raywce.runs.folder import CHECKPOINT, STATE_FILE, RunFolder, checkpoint_name
from raywce.runs.tables import TrialTable
from raywce.selection.trials import COMPLETE, PHASES, RUNNING, SEARCH, Row, values_of
from raywce.storage.files import delete_file, delete_folder, entries

_TRIALS = "trials"
_OURS = tuple(f"{phase}-" for phase in PHASES)  # how the names of trials begin


def best_trials(last_rows: Sequence[Row], count: int, by_setting: bool = False) -> list[str]:
    """Return the best of the complete trials: feasible ones first, by objective, then those nearest to feasible.

    Args:
        last_rows: of all trials.
        count: how many.
        by_setting: trials of one setting stand together, by their means: in a grid, a setting is the best, not a seed.
    """
    groups: dict[str, list[Row]] = {}
    for row in last_rows:
        if row["state"] == COMPLETE and row.get("objective") is not None:
            groups.setdefault(repr(values_of(row)) if by_setting else row["trial_id"], []).append(row)

    def order(rows: list[Row]) -> tuple[float, float, str]:
        # Without limits no row has a violation.
        beyond = max(0.0, fmean(row.get("violation") or 0.0 for row in rows))
        return beyond, fmean(row["objective"] for row in rows), rows[0]["trial_id"]

    return [row["trial_id"] for rows in sorted(groups.values(), key=order) for row in rows][:count]


class Sweeper:
    """Removes files of trials that have ended in the written table, all but the models that are to stay.

    Of the search phase, those of the best trials stay; of baseline and confirm phase, all. A trial that is to be
    resumed needs the optimizer's state beside the weights; an ended one does not.
    """

    def __init__(self, folder: RunFolder, keep: int, by_setting: bool = False) -> None:
        """Set the run folder, how many models stay (`search.keep_models`), and whether by the means of settings."""
        self._folder, self._keep, self._by_setting = folder, keep, by_setting
        self._swept: dict[str, bool] = {}  # by trial, whether its model stayed

    def sweep(self, table: TrialTable) -> None:
        """Clear trials that have ended since the last time, or are no longer among the best; the table is written."""
        last = {phase: table.last_rows(phase) for phase in PHASES}
        best = best_trials(last[SEARCH], self._keep, self._by_setting)
        for row in chain.from_iterable(last.values()):
            trial_id = row["trial_id"]
            stays = row["state"] == COMPLETE and (row["phase"] != SEARCH or trial_id in best)
            if row["state"] != RUNNING and self._swept.get(trial_id) is not stays:
                self._clear(trial_id, checkpoint_name(row["step"]) if stays else None)
                self._swept[trial_id] = stays

    def sweep_all(self, table: TrialTable) -> None:
        """Clear, at a phase's end, also what stopped trials wrote last, and trials that the table does not know."""
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
