"""Lines, tables and fields as all commands print them: readable in the 80 columns of a log."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

import rich
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from raywce.selection.languages import ONE_KIND

_NOTES = 2


def show_line(text: str) -> None:
    """Print a line as it is."""
    rich.get_console().print(text, highlight=False, markup=False, soft_wrap=True)


def show_notes(notes: Sequence[str]) -> None:
    """Print the first few notes on single trainings; a long search has dozens."""
    for note in notes[:_NOTES]:
        show_line(note)
    if len(notes) > _NOTES:
        show_line(f"and {len(notes) - _NOTES} more such notes, in the report and in outcome.json")


class PlainTable(Table):
    """A table whose cells are text as it is: rich takes `[word]`, such as in the name of a level, for markup."""

    def add_row(self, *cells: RenderableType | None, **look: Any) -> None:
        """Add a row of texts."""
        super().add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells), **look)


def plain_table(*headings: str, text: Collection[str] = (), wrapped: Collection[str] = ()) -> PlainTable:
    """Return an empty table without borders, its cells on one line each.

    Args:
        headings: of the columns.
        text: columns of words, aligned to the left; the first one is always; the others hold figures.
        wrapped: those of them whose cells may take several lines.
    """
    table = PlainTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, heading in enumerate(headings):
        is_text = index == 0 or heading in text
        table.add_column(Text(heading), justify="left" if is_text else "right", no_wrap=heading not in wrapped)
    return table


def marked(language: str, watched: Collection[str], marks: Mapping[str, str] = ONE_KIND) -> str:
    """Return a language's code, with its rate where both are shown and a star where the model is not trained on it.

    `yue CER*` is as wide as the heading of such a column.

    Args:
        language: the code.
        watched: languages with a star.
        marks: `WER` or `CER` by language; empty where all have a rate of one kind.
    """
    return " ".join([language, *([marks[language]] if language in marks else [])]) + "*" * (language in watched)


def legend(watched: Collection[str]) -> str:
    """Return the end of a title that explains the mark of `marked`; empty where no language has it."""
    return "; *: watched" if watched else ""


def show_table(title: str, table: Table) -> None:
    """Print a title and its table; one that is too wide for the console is not cut."""
    console = rich.get_console()
    size = console.measure(table, options=console.options.update_width(sys.maxsize))
    table.width = max(size.minimum, min(size.maximum, console.width))
    console.print(title, highlight=False, markup=False, soft_wrap=True, style="bold")
    console.print(table, highlight=False, crop=False)
    console.print()


def show_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print a name and a text in each line; a long text continues below itself."""
    fields = list(fields)
    margin = max(len(name) for name, _ in fields) + 2
    room = max(20, rich.get_console().width - margin)
    for name, text in fields:
        for index, line in enumerate(wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]):
            show_line(f"{'' if index else name:{margin}}{line}".rstrip())
