"""What a search shows: a live table on a terminal, plain lines elsewhere, and the outcome at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import rich
from rich.console import Console
from rich.live import Live
from rich.table import Table

from raywce.experiment.schema import Experiment
from raywce.search.confirmation_view import show_confirmation
from raywce.search.lines import show_line
from raywce.search.outcome import SearchOutcome, TrialFigures
from raywce.search.pace import Pace
from raywce.search.settings_view import print_settings
from raywce.search.tables import BASELINE, FAIL, PRUNED, RUNNING

Row = Mapping[str, Any]
_DRAW_S = 0.5


class View(Protocol):
    """Shows one phase's trials."""

    def show(self, rows: Sequence[Row]) -> None:
        """Something changed in a trial; `rows` are all of its rows, by step."""

    def close(self) -> None:
        """The phase is over."""


def open_view(phase: str, experiment: Experiment, leaves: Sequence[str]) -> View:
    """A live table on a terminal, plain lines elsewhere."""
    console = rich.get_console()
    view = TerminalView if console.is_terminal else PlainView
    return view(console, phase, experiment, leaves)


class PlainView:
    """A line for each evaluation and each change of state."""

    def __init__(self, console: Console, phase: str, experiment: Experiment, leaves: Sequence[str]) -> None:
        self.console, self.phase, self.languages, self.leaves = console, phase, experiment.languages.all, leaves
        self._said: dict[str, set[tuple[Any, ...]]] = {}

    def show(self, rows: Sequence[Row]) -> None:
        """Print what was not printed yet."""
        row = rows[-1]
        said = self._said.setdefault(row["trial_id"], set())
        if ("state", row["state"]) not in said:
            said.add(("state", row["state"]))
            self._print(f"{row['trial_id']}: {_state(row)} {_values(row, self.leaves)}")
        if row.get("step") is not None and _is_evaluated(row, self.languages) and ("step", row["step"]) not in said:
            said.add(("step", row["step"]))
            wers = ", ".join(f"{language} {_percent(row[f'wer/{language}'])}" for language in self.languages)
            self._print(f"{row['trial_id']}: step {row['step']}, WER {wers}. {_feasible(row)}".rstrip(". ") + ".")

    def close(self) -> None:
        """Nothing is open."""

    def _print(self, text: str) -> None:
        self.console.print(text.rstrip(), highlight=False, markup=False, soft_wrap=True)


class TerminalView:
    """A table with a row a trial, drawn anew at each change."""

    def __init__(self, console: Console, phase: str, experiment: Experiment, leaves: Sequence[str]) -> None:
        self.phase, self.languages, self.leaves = phase, experiment.languages.all, leaves
        self._trials: dict[str, Sequence[Row]] = {}
        self._pace = Pace(_DRAW_S)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="visible")
        self._live.start()

    def show(self, rows: Sequence[Row]) -> None:
        """Draw the table with this trial's new row, unless it was drawn just now."""
        self._trials[rows[-1]["trial_id"]] = rows
        if self._pace.is_due():
            with self._pace:
                self._live.update(self.table(), refresh=True)

    def table(self) -> Table:
        """The table as it stands."""
        names = [leaf.rsplit(".", 1)[-1] for leaf in self.leaves]
        wers = [f"WER {language}" for language in self.languages]
        table = Table("trial", "step", *names, *wers, "feasible", "state", title=self.phase)
        for rows in self._trials.values():
            table.add_row(*self._cells(rows))
        return table

    def close(self) -> None:
        """Leave the last table on the screen."""
        self._live.update(self.table(), refresh=True)
        self._live.stop()

    def _cells(self, rows: Sequence[Row]) -> list[str]:
        last, evaluated = rows[-1], [row for row in rows if _is_evaluated(row, self.languages)]
        row = evaluated[-1] if evaluated else {}
        values = [_value(last.get(f"config/{leaf}")) for leaf in self.leaves]
        wers = [_percent(row.get(f"wer/{language}")) for language in self.languages]
        step = "" if last.get("step") is None else str(last["step"])
        return [last["trial_id"], step, *values, *wers, _feasible(row), _state(last)]


def show_outcome(outcome: SearchOutcome) -> None:
    """Print the best feasible trial beside the baseline and the original, or what stood in the way of one."""
    show_line(_headline(outcome))
    for path, value in _shown(outcome).values.items():
        show_line(f"{path} = {_value(value)}")
    rich.get_console().print(comparison(outcome))
    if outcome.pareto:
        points = (f"{one.trial_id} {_percent(one.objective)}, {one.worst_change:+.2f}" for one in outcome.pareto)
        show_line(f"Pareto set (low-resource WER in %, worst high-resource change in points): {'; '.join(points)}")
    if outcome.settings:
        print_settings(rich.get_console(), outcome.settings)
    if outcome.confirmation:
        show_confirmation(outcome.confirmation)
    for name, path in outcome.tables.items():
        show_line(f"{name}: {path}")


def comparison(outcome: SearchOutcome) -> Table:
    """WER per language of the original, the baseline and the trial; differences to the baseline in points.

    The baseline's has its standard deviation over several seeds, which is the noise that differences stand against.
    """
    trial, deviations = _shown(outcome), outcome.references.baseline_deviation
    table = Table(
        "language",
        "original",
        "baseline",
        "best" if outcome.best else "nearest",
        "against baseline",
        "limit",
        title="WER in %",
    )
    for language in [*outcome.low_resource, *outcome.high_resource]:
        wer, baseline = trial.wer[language], outcome.references.baseline[language]
        limit = _limit(trial, language)
        original = outcome.references.original.get(language)
        deviation = f" ± {100 * deviations[language]:.2f}" if deviations else ""
        cells = [_percent(original), f"{_percent(baseline)}{deviation}", _percent(wer)]
        cells += [f"{100 * (wer - baseline):+.2f}", limit]
        table.add_row(language, *cells)
    return table


def _headline(outcome: SearchOutcome) -> str:
    counts = f"{outcome.trials} trials, {outcome.feasible} feasible, {len(outcome.failed)} failed"
    counts += f", {outcome.stopped} stopped early" if outcome.stopped else ""
    counts += ", the time limit was reached" if outcome.out_of_time else ""
    if outcome.best is None:
        assert outcome.nearest is not None
        stopped = outcome.nearest.worst
        by = f"{stopped[0]} is {stopped[1]:.2f} points above its limit" if stopped else ""
        return f"Nothing feasible ({counts}). The nearest trial is {outcome.nearest.trial_id}: {by}."
    points = 100 * (outcome.best.objective - outcome.baseline_objective)
    verdict = f"{points:+.2f} points of low-resource WER against the baseline"
    if not outcome.better:
        verdict = f"not better than the baseline ({points:+.2f} points of low-resource WER)"
    return f"Best feasible trial {outcome.best.trial_id} ({counts}): {verdict}."


def _shown(outcome: SearchOutcome) -> TrialFigures:
    trial = outcome.best or outcome.nearest
    assert trial is not None
    return trial


def _limit(trial: TrialFigures, language: str) -> str:
    points = trial.violations.get(language)
    if points is None:
        return ""
    return "holds" if points <= 0 else f"broken by {points:.2f}"


def _is_evaluated(row: Row, languages: Sequence[str]) -> bool:
    return all(row.get(f"wer/{language}") is not None for language in languages)


def _state(row: Row) -> str:
    if row["state"] == FAIL:
        return f"{FAIL}: {row.get('reason')}"
    if row["state"] == PRUNED:
        return f"stopped early at step {row.get('step')}"
    return f"{row['state']}{_restarts(row)}"


def _restarts(row: Row) -> str:
    restarts = row.get("restarts")
    return f" (workers restarted: {restarts})" if restarts else ""


def _values(row: Row, leaves: Sequence[str]) -> str:
    if row["state"] != RUNNING or row["phase"] == BASELINE:
        return ""
    return ", ".join(f"{leaf} = {_value(row.get(f'config/{leaf}'))}" for leaf in leaves)


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
