"""Trials as rows: one for each report, named as in `trials.parquet`; the names of phases and states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from raywce.experiment.space import Scalar

Row = dict[str, Any]
"""Cells by column."""

RUNNING, COMPLETE, FAIL = "RUNNING", "COMPLETE", "FAIL"
PRUNED = "PRUNED"  # stopped early: Optuna's word
BASELINE, SEARCH, CONFIRM, TEST = "baseline", "search", "confirm", "test"
PHASES = (BASELINE, SEARCH, CONFIRM)
ORIGINAL = "original"
CONFIG = "config/"  # begins the columns of searched leaves


@dataclass
class Trials:
    """Rows of trials.

    Attributes:
        trials: each trial's rows by step, by trial; a trial without a report has one row at None.
    """

    trials: dict[str, dict[int | None, Row]] = field(default_factory=dict)

    def of(self, trial_id: str) -> list[Row]:
        """Return a trial's rows, by step."""
        rows = self.trials.get(trial_id, {})
        return [rows[step] for step in sorted(rows, key=lambda step: -1 if step is None else step)]

    def trial_ids(self, phase: str) -> list[str]:
        """Return a phase's trials, in alphabetical order."""
        return sorted(name for name, rows in self.trials.items() if next(iter(rows.values()))["phase"] == phase)

    def of_phase(self, phase: str) -> dict[str, list[Row]]:
        """Return the rows of each of a phase's trials, by step; the trials in alphabetical order."""
        return {trial_id: self.of(trial_id) for trial_id in self.trial_ids(phase)}

    def ratios(self, trial_id: str) -> list[float | None]:
        """Return the loss ratio of each step of a trial; of a trial without them, none."""
        return [ratio for row in self.of(trial_id) for ratio in row.get("ratios") or ()]

    def last_rows(self, phase: str) -> list[Row]:
        """Return the row of the last step of each of a phase's trials, in alphabetical order."""
        return [rows[-1] for rows in self.of_phase(phase).values()]


def values_of(row: Row) -> dict[str, Scalar]:
    """Return a row's searched leaves: key path to value."""
    return {name.removeprefix(CONFIG): value for name, value in row.items() if name.startswith(CONFIG)}
