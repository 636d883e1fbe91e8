"""Trials as rows: one for each report, named as in `trials.parquet`; the names of phases and states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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

    trials: dict[str, dict[int | None, dict[str, Any]]] = field(default_factory=dict)

    def of(self, trial_id: str) -> list[dict[str, Any]]:
        """Return a trial's rows, by step."""
        rows = self.trials.get(trial_id, {})
        return [rows[step] for step in sorted(rows, key=lambda step: -1 if step is None else step)]

    def trial_ids(self, phase: str) -> list[str]:
        """Return a phase's trials, in alphabetical order."""
        return sorted(trial_id for trial_id, rows in self.trials.items() if _first(rows)["phase"] == phase)


def values_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's searched leaves, as the table has them: key path to value."""
    return {name.removeprefix(CONFIG): value for name, value in row.items() if name.startswith(CONFIG)}


def _first(rows: Mapping[int | None, dict[str, Any]]) -> dict[str, Any]:
    return next(iter(rows.values()))
