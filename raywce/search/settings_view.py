"""A grid's settings on the screen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from raywce.search.settings import Setting

_UNBOUNDED = 10_000


def print_settings(console: Console, rows: Sequence[Setting]) -> None:
    """Print the tables, as wide as they are where no terminal bounds the lines."""
    for table in settings_tables(rows):
        if not console.is_terminal:
            table.width = console.measure(table, options=console.options.update(max_width=_UNBOUNDED)).maximum
        console.print(table, crop=False)


def settings_tables(rows: Sequence[Setting]) -> list[Table]:
    """WER per language, and its relative changes against the original and the baseline."""
    return [_rates(rows), _changes(rows)]


def _rates(rows: Sequence[Setting]) -> Table:
    seeds = max(row.runs for row in rows)
    over = f", mean ± standard deviation over {seeds} seeds" if seeds > 1 else ""
    table = Table("setting", *rows[0].wer, title=f"WER in %{over}")
    for row in rows:
        few = f" ({row.runs} of {seeds} seeds)" if 0 < row.runs < seeds else ""
        table.add_row(row.name + few, *(_rate(row, language) for language in row.wer))
    return table


def _changes(rows: Sequence[Setting]) -> Table:
    groups = list(rows[1].against_original or {})
    columns = [f"{group} / {reference}" for reference in ("original", "baseline") for group in groups]
    table = Table("setting", *columns, title="relative change of the WER in %, against original and baseline")
    for row in rows[1:]:
        cells = [
            _percent(against, group) for against in (row.against_original, row.against_baseline) for group in groups
        ]
        table.add_row(row.name, *cells)
    return table


def _rate(row: Setting, language: str) -> str:
    if math.isnan(row.wer[language]):
        return ""
    spread = f" ± {100 * row.deviation[language]:.2f}" if row.deviation else ""
    return f"{100 * row.wer[language]:.2f}{spread}"


def _percent(changes: Mapping[str, float] | None, group: str) -> str:
    return "" if changes is None or math.isnan(changes[group]) else f"{changes[group]:+.2f}"
