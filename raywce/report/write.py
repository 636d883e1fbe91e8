"""A run's report made, shown and written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raywce.report.build import build
from raywce.report.figures import RunReport
from raywce.report.page import page
from raywce.report.run import Run, read_run
from raywce.run_folder import REPORT, RunFolder
from raywce.search.lines import show_line
from raywce.search.view import show_outcome


@dataclass(frozen=True)
class Made:
    """A report, and the run that it is of."""

    run: Run
    figures: RunReport

    def show(self) -> None:
        """Print the search's tables and the finding with its interval."""
        if self.run.outcome:
            show_outcome(self.run.outcome)
        for cost in self.figures.set_up.costs:
            hours = f"{cost.cpu_hours:.2f} CPU-hours, {cost.gpu_hours:.2f} GPU-hours"
            show_line(f"{cost.phase}: {cost.trainings} trainings, {cost.seconds:.0f} s, {hours}")
        show_line(self.figures.finding)


def make_report(folder: RunFolder) -> Made:
    """Read a run folder into the figures of its report.

    Raises:
        InputError: it is no search's run folder, or a file in it can't be read.
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
