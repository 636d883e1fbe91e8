"""Making, showing and writing the report of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raywce import numbers
from raywce.report.build import build
from raywce.report.figures import RunReport
from raywce.report.page import page
from raywce.report.run import Run, read_run
from raywce.runs.folder import REPORT, RunFolder
from raywce.screen.console import show_line
from raywce.screen.outcome import show_outcome


@dataclass(frozen=True)
class Made:
    """A run and the figures of its report."""

    run: Run
    figures: RunReport

    def show(self) -> None:
        """Print the search's tables and the finding with its interval."""
        if self.run.outcome:
            show_outcome(self.run.outcome)
        for cost in self.figures.set_up.costs:
            hours = f"{numbers.hours(cost.cpu_hours)} CPU-hours, {numbers.hours(cost.gpu_hours)} GPU-hours"
            show_line(f"{cost.phase}: {cost.trainings} trainings, {numbers.duration(cost.seconds)}, {hours}")
        show_line(self.figures.finding)


def make_report(folder: RunFolder) -> Made:
    """Return the report of a run folder.

    Raises:
        InputError: it is not the run folder of a search, or a file in it can't be read.
    """
    run = read_run(folder)
    return Made(run, build(run))


def write_page(made: Made, out: Path | None = None) -> str:
    """Write the page, whole or not at all; by default into the run folder.

    Returns:
        Where it is.
    """
    folder, name = (RunFolder.at(str(out.parent)), out.name) if out else (made.run.folder, REPORT)
    folder.write_text(name, page(made.figures, made.run))
    return folder.path(name)
