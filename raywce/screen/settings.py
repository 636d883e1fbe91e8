"""A grid's settings on the screen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest

from rich.table import Table

from raywce import numbers
from raywce.screen.console import legend, marked, plain_table, show_table
from raywce.selection.languages import ONE_KIND
from raywce.selection.settings import Setting


def show_settings(
    rows: Sequence[Setting], label: str, watched: Collection[str] = (), marks: Mapping[str, str] = ONE_KIND
) -> None:
    """Print the rates of the settings, by the name in `label`, and their relative changes.

    Args:
        rows: the settings.
        label: of the rates.
        watched: languages that are not trained on.
        marks: `WER` or `CER` by language; empty where all have a rate of one kind.
    """
    seeds = max(row.runs for row in rows)
    over = f", mean ± standard deviation over {seeds} seeds" if seeds > 1 else ""
    show_table(f"{label} in %{over}{legend(watched)}", wer_table(rows, label, watched, marks))
    mean = f"Mean of the relative changes of the {label}" if marks else f"Relative change of the mean {label}"
    show_table(f"{mean} in %", change_table(rows))


def wer_table(rows: Sequence[Setting], label: str, watched: Collection[str], marks: Mapping[str, str]) -> Table:
    """Return the rate of each setting, a line for each language; the name is at its first lines, a part in each."""
    table = plain_table("setting", "language", label.removeprefix("capped "), text=("language",))
    seeds = max(row.runs for row in rows)
    for row in rows:
        few = [f"({row.runs} of {seeds} seeds)"] if 0 < row.runs < seeds else []
        deviations = row.deviation or {}
        rates = [
            (marked(language, watched, marks), numbers.with_deviation(rate, deviations.get(language)))
            for language, rate in row.wer.items()
        ]
        _add(table, [*_parts(row), *few], rates)
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
