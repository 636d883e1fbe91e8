"""Display of a running phase: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol

import rich
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raywce import numbers
from raywce.experiment.schema import Experiment
from raywce.screen.console import legend, marked, plain_table
from raywce.screen.progress import Progress
from raywce.screen.throttle import ALIVE_S, Throttle
from raywce.selection.languages import labelled
from raywce.selection.settings import short_names
from raywce.selection.trials import BASELINE, COMPLETE, FAIL, PRUNED, RUNNING, Row
from raywce.trial_report import Report

_DRAW_S = 0.5
_AROUND = 9  # lines of the screen that are not for trials: title, headings, failures, progress


class View(Protocol):
    """Display of the trials of one phase."""

    def show(self, rows: Sequence[Row]) -> None:
        """Show the change of a trial; `rows` are all of its rows, by step."""

    def tick(self) -> None:
        """Update what changes with time; called often."""

    def close(self) -> None:
        """End the display with the phase."""


def open_view(experiment: Experiment, leaves: Sequence[str], progress: Progress) -> View:
    """Return a live table on a terminal; plain lines in a file, whatever FORCE_COLOR says, and with `TERM=dumb`."""
    console = rich.get_console()
    is_live = console.is_terminal and not console.is_dumb_terminal and console.file.isatty()
    return (TerminalView if is_live else PlainView)(console, experiment, leaves, progress)


class PlainView:
    """A line for each evaluation and each change of state, and one for each running trial every half minute.

    The line for the end of a trial includes the progress of the phase.
    """

    def __init__(self, console: Console, experiment: Experiment, leaves: Sequence[str], progress: Progress) -> None:
        self.console, self.languages, self.leaves = console, experiment.languages, leaves
        self.training, self.metrics, self.progress = experiment.training, experiment.metrics, progress
        self._printed: set[tuple[str, str | int]] = set()  # states and steps of trials
        self._warned: set[str] = set()
        self._running: dict[str, Sequence[Row]] = {}
        self._throttle = Throttle(ALIVE_S, at_once=False)

    def show(self, rows: Sequence[Row]) -> None:
        """Print what has not been printed yet."""
        row = rows[-1]
        state, step = row["state"], row.get("step")
        self._running.pop(row["trial_id"], None)
        for warning in _warnings([rows]):
            if warning not in self._warned:
                self._warned.add(warning)
                self._print(row, warning)
        if state == RUNNING:
            self._running[row["trial_id"]] = rows
            if self._is_new(row, state):
                self._print(row, f"starts {_values(row, self.leaves)}")
        found, marks = self.metrics.deciding(Report.of(row).rates), self.metrics.marks
        if step is not None and found.keys() >= set(self.languages.decoded) and self._is_new(row, step):
            names = {language: labelled(language, self.languages.watched, marks) for language in found}
            rates = ", ".join(f"{names[language]} {numbers.percent(rate)}" for language, rate in found.items())
            self._print(row, f"step {step}, {self.metrics.label} in %: {rates}; {_feasible(row)}".rstrip("; ") + ".")
        if state != RUNNING and self._is_new(row, state):
            self._print(row, f"{_state(row)}. {self.progress.line()}.")

    def tick(self) -> None:
        """Print the step and the speed of each running trial when a line is due."""
        if self._throttle.is_due():
            with self._throttle:
                for rows in self._running.values():
                    self._print(rows[-1], self._position(rows))

    def _is_new(self, row: Row, what: str | int) -> bool:
        """Return whether a trial's state or step has not been printed yet; now it is."""
        before = len(self._printed)
        self._printed.add((row["trial_id"], what))
        return len(self._printed) > before

    def _position(self, rows: Sequence[Row]) -> str:
        step = rows[-1].get("step")
        rate = utterances_per_second(rows, self.training.batch_size)
        speed = "" if rate is None else f", {rate:.1f} utterances/s"
        return "no step reported yet." if step is None else f"step {step} of {self.training.steps}{speed}."

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _print(self, row: Row, text: str) -> None:
        line = f"{row['trial_id']}: {text.rstrip()}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def utterances_per_second(rows: Sequence[Row], batch_size: int) -> float | None:
    """Return how fast a trial trained between its last two reports without an evaluation in between, or None.

    Args:
        rows: of the trial, by step; `time_s` is the time of training and evaluations.
        batch_size: utterances per step.
    """
    timed = [row for row in rows if row.get("step") is not None and row.get("time_s") is not None]
    for before, row in reversed([*pairwise(timed)]):
        seconds = row["time_s"] - before["time_s"]
        if row.get("utterances") is None and seconds > 0:  # the file of what was decoded
            return float((row["step"] - before["step"]) * batch_size / seconds)
    return None


class TerminalView:
    """A table with a row for each trial, as many as the screen has room for, above the progress of the phase."""

    def __init__(self, console: Console, experiment: Experiment, leaves: Sequence[str], progress: Progress) -> None:
        self.console, self.languages, self.leaves = console, experiment.languages, leaves
        self.metrics, self.progress = experiment.metrics, progress
        self._trials: dict[str, Sequence[Row]] = {}
        self._throttle = Throttle(_DRAW_S)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="visible")
        self._live.start()

    def show(self, rows: Sequence[Row]) -> None:
        """Draw the trial's new row, unless the table was drawn just now."""
        self._trials[rows[-1]["trial_id"]] = rows
        self.tick()

    def tick(self) -> None:
        """Draw the screen again when it is due: the time left changes."""
        if self._throttle.is_due():
            with self._throttle:
                self._live.update(self.screen(), refresh=True)

    def close(self) -> None:
        """Leave the last table on the screen."""
        self._live.update(self.screen(), refresh=True)
        self._live.stop()

    def screen(self) -> Group:
        """Return what is shown now, with as many columns as fit the terminal."""
        of = self.languages
        for languages, leaves in ((of.decoded, self.leaves), (of.decoded, []), (of.all, []), (of.low_resource, [])):
            table = self._table(languages, leaves)
            unbounded = self.console.options.update_width(sys.maxsize)
            if self.console.measure(table, options=unbounded).maximum <= self.console.width:
                break
        title = f"{self.progress.phase}: {self.metrics.label} in %; limits: largest violation in points"
        title += legend(of.watched if languages == of.decoded else [])
        return Group(Text(title, style="bold"), table, *map(Text, self._notes()), Text(self.progress.line()))

    def _table(self, languages: Sequence[str], leaves: Sequence[str]) -> Table:
        names = short_names(leaves).values()
        headings = [marked(language, self.languages.watched, self.metrics.marks) for language in languages]
        table = plain_table("trial", "step", *headings, "limits", *names, "state", text=("state",))
        for trial_id in self._with_room():
            table.add_row(*self._cells(self._trials[trial_id], languages, leaves))
        return table

    def _notes(self) -> list[str]:
        hidden = len(self._trials) - len(self._with_room())
        failed = [rows[-1] for rows in self._trials.values() if rows[-1]["state"] == FAIL]
        notes = [f"and {hidden} trials that have ended"] if hidden else []
        notes += _warnings(self._trials.values())
        return notes + [f"{row['trial_id']} {_state(row)}" for row in failed[-1:]]

    def _with_room(self) -> list[str]:
        """Return the running trials, then the best and the latest of the others, in the order they started."""
        best = self.progress.best[0] if self.progress.best else ""
        ended = {trial_id for trial_id, rows in self._trials.items() if rows[-1]["state"] != RUNNING}
        latest_first = list(self._trials)[::-1]
        by_need = sorted(latest_first, key=lambda trial_id: (trial_id in ended, trial_id != best))
        room = max(1, self.console.height - _AROUND)
        return sorted(by_need[:room], key=list(self._trials).index)

    def _cells(self, rows: Sequence[Row], languages: Sequence[str], leaves: Sequence[str]) -> list[str]:
        last, latest_first = rows[-1], map(Report.of, reversed(rows))
        known = ((self.metrics.deciding(one.rates), one) for one in latest_first)
        rates, report = next(((of, one) for of, one in known if of.keys() >= set(languages)), ({}, Report()))
        values = [numbers.hyperparameter(last.get(f"config/{leaf}")) for leaf in leaves]
        cells = [numbers.percent(rates.get(language)) for language in languages]
        step = "" if last.get("step") is None else str(last["step"])
        return [last["trial_id"], step, *cells, numbers.points(report.violation), *values, _short_state(last)]


def _warnings(trials: Iterable[Sequence[Row]]) -> list[str]:
    """Return what the trials' cards lack, each lack once."""
    found = {row["warning"] for rows in trials for row in rows if row.get("warning")}
    return [f"warning: {text}" for text in sorted(found)]


def _state(row: Row) -> str:
    if row["state"] == FAIL:
        return f"failed: {row.get('reason')}"
    if row["state"] == PRUNED:
        return f"stopped early at step {row.get('step')}"
    restarts = f", restarts: {row['restarts']}" if row.get("restarts") else ""
    return f"{'done' if row['state'] == COMPLETE else 'running'}{restarts}"


def _short_state(row: Row) -> str:
    """Return the state without the reason and the step, which stand elsewhere."""
    return {FAIL: "failed", PRUNED: "stopped early"}.get(row["state"]) or _state(row)


def _values(row: Row, leaves: Sequence[str]) -> str:
    if row["phase"] == BASELINE or row.get("candidate") == BASELINE:
        return ""
    return "with " + ", ".join(f"{leaf} = {numbers.hyperparameter(row.get(f'config/{leaf}'))}" for leaf in leaves)


def _feasible(row: Row) -> str:
    if row.get("feasible") is None:
        return ""
    if row.get("violation") is None or row["feasible"]:
        return "feasible"
    return f"not feasible, {numbers.distance(row['violation'])} points above a limit"
