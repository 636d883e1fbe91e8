"""What a phase shows while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import rich
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raywce.experiment.schema import Experiment
from raywce.search.pace import ALIVE_S, Pace
from raywce.search.progress import Progress
from raywce.search.tables import BASELINE, COMPLETE, FAIL, PRUNED, RUNNING

Row = Mapping[str, Any]
_DRAW_S = 0.5
_AROUND = 9  # lines of the screen that are not for trials: frame, headings, progress


class View(Protocol):
    """Shows one phase's trials."""

    def show(self, rows: Sequence[Row]) -> None:
        """Something changed in a trial; `rows` are all of its rows, by step."""

    def tick(self) -> None:
        """Time has passed."""

    def close(self) -> None:
        """The phase is over."""


def open_view(experiment: Experiment, leaves: Sequence[str], progress: Progress) -> View:
    """A live table on a terminal, plain lines elsewhere."""
    console = rich.get_console()
    view = TerminalView if console.is_terminal else PlainView
    return view(console, experiment, leaves, progress)


class PlainView:
    """A line for each evaluation and each change of state, and every half minute where each running trial is.

    How far the phase is stands where a trial has ended.
    """

    def __init__(self, console: Console, experiment: Experiment, leaves: Sequence[str], progress: Progress) -> None:
        self.console, self.languages, self.leaves = console, experiment.languages.all, leaves
        self.training, self.progress = experiment.training, progress
        self._said: dict[str, set[tuple[Any, ...]]] = {}
        self._running: dict[str, Sequence[Row]] = {}
        self._pace = Pace(ALIVE_S, at_once=False)

    def show(self, rows: Sequence[Row]) -> None:
        """Print what was not printed yet."""
        row = rows[-1]
        self._running.pop(row["trial_id"], None)
        if row["state"] == RUNNING:
            self._running[row["trial_id"]] = rows
        said = self._said.setdefault(row["trial_id"], set())
        if row["state"] == RUNNING and ("state", RUNNING) not in said:
            said.add(("state", RUNNING))
            self._print(row, f"begins {_values(row, self.leaves)}")
        if row.get("step") is not None and _is_evaluated(row, self.languages) and ("step", row["step"]) not in said:
            said.add(("step", row["step"]))
            wers = ", ".join(f"{language} {_percent(row[f'wer/{language}'])}" for language in self.languages)
            self._print(row, f"step {row['step']}, WER {wers}. {_feasible(row)}".rstrip(". ") + ".")
        if row["state"] != RUNNING and ("state", row["state"]) not in said:
            said.add(("state", row["state"]))
            self._print(row, f"{_state(row)}. {self.progress.line()}.")

    def tick(self) -> None:
        """Say of each running trial at which step it is, and how fast."""
        if self._pace.is_due():
            with self._pace:
                for rows in self._running.values():
                    self._print(rows[-1], self._where(rows))

    def _where(self, rows: Sequence[Row]) -> str:
        step = rows[-1].get("step")
        rate = utterances_per_second(rows, self.training.batch_size)
        speed = "" if rate is None else f", {rate:.1f} utterances/s"
        return "no step is reported yet." if step is None else f"step {step} of {self.training.steps}{speed}."

    def close(self) -> None:
        """Nothing is open."""

    def _print(self, row: Row, text: str) -> None:
        line = f"{row['trial_id']}: {text.rstrip()}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def utterances_per_second(rows: Sequence[Row], batch_size: int) -> float | None:
    """How fast a trial trained between its last two reports without an evaluation in between; None where unknown.

    Args:
        rows: of the trial, by step; `time_s` is the time of training and evaluations.
        batch_size: utterances of a step.
    """
    timed = [row for row in rows if row.get("step") is not None and row.get("time_s") is not None]
    for before, row in reversed([*pairwise(timed)]):
        seconds = row["time_s"] - before["time_s"]
        if row.get("utterances") is None and seconds > 0:  # the file of what was decoded
            return float((row["step"] - before["step"]) * batch_size / seconds)
    return None


class TerminalView:
    """A table with a row a trial, as many as the screen has room for, and how far the phase is below it."""

    def __init__(self, console: Console, experiment: Experiment, leaves: Sequence[str], progress: Progress) -> None:
        self.console, self.languages, self.leaves = console, experiment.languages, leaves
        self.progress = progress
        self._trials: dict[str, Sequence[Row]] = {}
        self._pace = Pace(_DRAW_S)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="visible")
        self._live.start()

    def show(self, rows: Sequence[Row]) -> None:
        """Draw the trial's new row, unless the table was drawn just now."""
        self._trials[rows[-1]["trial_id"]] = rows
        self.tick()

    def tick(self) -> None:
        """Draw anew, as the time left has changed."""
        if self._pace.is_due():
            with self._pace:
                self._live.update(self.screen(), refresh=True)

    def close(self) -> None:
        """Leave the last table on the screen."""
        self._live.update(self.screen(), refresh=True)
        self._live.stop()

    def screen(self) -> Group:
        """What is shown now: the most columns that the terminal is wide enough for."""
        low, high = self.languages.low_resource, self.languages.high_resource
        for languages, leaves in (([*low, *high], self.leaves), ([*low, *high], []), (low, [])):
            table = self._table(languages, leaves)
            unbounded = self.console.options.update_width(sys.maxsize)
            if self.console.measure(table, options=unbounded).maximum <= self.console.width:
                break
        return Group(table, Text(self.progress.line()))

    def _table(self, languages: Sequence[str], leaves: Sequence[str]) -> Table:
        wers = [f"WER {language}" for language in languages]
        names = [leaf.rsplit(".", 1)[-1] for leaf in leaves]
        table = Table("trial", "step", *wers, "limits", *names, "state", title=self.progress.phase)
        shown = self._with_room()
        for trial_id in shown:
            table.add_row(*self._cells(self._trials[trial_id], languages, leaves))
        if len(shown) < len(self._trials):
            table.caption = f"and {len(self._trials) - len(shown)} trials that have ended"
        return table

    def _with_room(self) -> list[str]:
        """The trials that run, and of the others the best and the last ones; in their order."""
        best = self.progress.best[0] if self.progress.best else ""
        ended = {trial_id for trial_id, rows in self._trials.items() if rows[-1]["state"] != RUNNING}
        latest_first = list(self._trials)[::-1]
        by_need = sorted(latest_first, key=lambda trial_id: (trial_id in ended, trial_id != best))
        room = max(1, self.console.height - _AROUND)
        return sorted(by_need[:room], key=list(self._trials).index)

    def _cells(self, rows: Sequence[Row], languages: Sequence[str], leaves: Sequence[str]) -> list[str]:
        last, evaluated = rows[-1], [row for row in rows if _is_evaluated(row, languages)]
        row = evaluated[-1] if evaluated else {}
        values = [_value(last.get(f"config/{leaf}")) for leaf in leaves]
        wers = [_percent(row.get(f"wer/{language}")) for language in languages]
        step = "" if last.get("step") is None else str(last["step"])
        return [last["trial_id"], step, *wers, _feasible(row), *values, _state(last)]


def _is_evaluated(row: Row, languages: Sequence[str]) -> bool:
    return all(row.get(f"wer/{language}") is not None for language in languages)


def _state(row: Row) -> str:
    if row["state"] == FAIL:
        return f"failed: {row.get('reason')}"
    if row["state"] == PRUNED:
        return f"stopped early at step {row.get('step')}"
    return f"{'done' if row['state'] == COMPLETE else 'running'}{_restarts(row)}"


def _restarts(row: Row) -> str:
    restarts = row.get("restarts")
    return f" (workers restarted: {restarts})" if restarts else ""


def _values(row: Row, leaves: Sequence[str]) -> str:
    if row["phase"] == BASELINE or row.get("candidate") == BASELINE:
        return ""
    return "with " + ", ".join(f"{leaf} = {_value(row.get(f'config/{leaf}'))}" for leaf in leaves)


def _feasible(row: Row) -> str:
    if row.get("feasible") is None:
        return ""
    if row.get("violation") is None or row["feasible"]:
        return "feasible"
    return f"not feasible by {row['violation']:.2f} points"


def _percent(wer: float | None) -> str:
    return "" if wer is None else f"{100 * wer:.2f}"


def _value(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
