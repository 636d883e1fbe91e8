"""A grid's settings on the screen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import zip_longest

from rich.table import Table

from raywce import numbers
from raywce.screen.console import legend, marked, plain_table, show_table
from raywce.selection.settings import Setting


def show_settings(rows: Sequence[Setting], label: str, watched: Collection[str] = ()) -> None:
    """Print the rates of the settings, by the name in `label`, and their relative changes."""
    seeds = max(row.runs for row in rows)
    over = f", mean ± standard deviation over {seeds} seeds" if seeds > 1 else ""
    show_table(f"{label} in %{over}{legend(watched)}", wer_table(rows, watched))
    show_table(f"Relative change of the mean {label} in %", change_table(rows))


def wer_table(rows: Sequence[Setting], watched: Collection[str]) -> Table:
    """Return the WER of each setting, a line for each language; the name is at its first lines, a part in each."""
    table = plain_table("setting", "language", "WER", text=("language",))
    seeds = max(row.runs for row in rows)
    for row in rows:
        few = [f"({row.runs} of {seeds} seeds)"] if 0 < row.runs < seeds else []
        wers = [
            (marked(language, watched), numbers.with_deviation(wer, row.deviation[language] if row.deviation else None))
            for language, wer in row.wer.items()
        ]
        _add(table, [*_parts(row), *few], wers)
    return table


def change_table(rows: Sequence[Setting]) -> Table:
    """Return the relative changes from original and baseline, a line for each group of languages."""
    table = plain_table("setting", "languages", "from original", "from baseline", text=("languages",))
    for row in rows[1:]:
        changes = [
            (group, numbers.points(change), numbers.points((row.against_baseline or {}).get(group)))
            for group, change in (row.against_original or {}).items()
        ]
        _add(table, _parts(row), changes)
    return table


def _parts(row: Setting) -> list[str]:
    parts = row.name.split(", ")
    return [f"{part}," for part in parts[:-1]] + parts[-1:]


def _add(table: Table, name: Sequence[str], lines: Sequence[tuple[str, ...]]) -> None:
    for part, cells in zip_longest(name, lines):
        table.add_row(part or "", *(cells or ()))
