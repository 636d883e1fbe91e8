"""A search of made-up trials, shown as it would be: run as a program on a terminal by `test_live`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import rich

from raywce.experiment.load import ExperimentFile
from raywce.runs.tables import Trial, TrialTable
from raywce.screen.live import open_view
from raywce.screen.progress import Progress
from raywce.selection.trials import COMPLETE, RUNNING, SEARCH
from raywce.trial_report import Report
from tests.search import surrogate

ALPHA = "weighting.alpha"
WERS = (0.45, 0.40, 0.42, 0.44, 0.43)


def empty_table(file: ExperimentFile) -> TrialTable:
    """A table for the surrogate's file."""
    return TrialTable(file.space, file.experiment.languages)


def report(table: TrialTable, number: int, gl: float | None = None, state: str = RUNNING, **more: Any) -> list[Any]:
    """A trial's rows after one more report; without a WER it has begun."""
    trial = Trial(SEARCH, f"search-{number}", 0, {ALPHA: 1.0 + number})
    if gl is not None:
        rates = {"wer/gl": gl, "wer/es": 0.2, "wer/pt": 0.19, "objective": gl}
        judged = {"violation/es": -0.5, "violation/pt": -0.5, "violation": -0.5, "feasible": True}
        table.record(trial, Report.of({"step": 20, "final": True, **rates, **judged, **more}))
    table.finish(trial, state)
    return table.of(trial.trial_id)


def main(folder: Path) -> None:
    """Five trials, two at once; a key pressed lets the next thing happen, so that the screen can be read between."""
    file = surrogate.load_file(folder)
    table = empty_table(file)
    progress = Progress(SEARCH, total=7, at_once=lambda: 2, label="low-resource WER", baseline=0.47)
    view = open_view(file.experiment, list(file.space), progress)

    def show(rows: list[Any]) -> None:
        progress.see(rows)
        view.show(rows)
        time.sleep(0.6)
        view.tick()
        sys.stdin.readline()

    show(report(table, 0))
    for number, gl in enumerate(WERS):
        show(report(table, number + 1))
        show(report(table, number, gl, COMPLETE))
    view.close()
    rich.get_console().print("over")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
