"""One row as it stands in its table, and why it is broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raywce.data.prepare.cells import readable
from raywce.data.prepare.summary import Reason
from raywce.storage.files import is_utf8

Fields = Mapping[str, object]
"""Values of a row, by column."""


@dataclass(frozen=True)
class Record:
    """One row as it stands in its table.

    Attributes:
        number: the row's place: the line of a text table, from 1; the index in a parquet or Arrow file, from 0.
        fields: value by column.
        broken: why it can't be used, with a detail; None where it can.
        unbalanced_quote: whether an unbalanced quote was taken as it is written.
    """

    number: int
    fields: Fields
    broken: tuple[Reason, str] | None = None
    unbalanced_quote: bool = False


def checked(record: Record) -> Record:
    """Return the record, broken where a cell holds text that is not UTF-8."""
    for name, value in record.fields.items():
        if isinstance(value, str) and not is_utf8(value):
            return broken(record.number, record.fields, Reason.NOT_UTF8, f"in column {name}; save the table as UTF-8")
    return record


def broken(number: int, fields: Fields, reason: Reason, detail: str) -> Record:
    """Return a record that can't be used; its text can be written."""
    cells = {name: readable(value) if isinstance(value, str) else value for name, value in fields.items()}
    return Record(number, cells, (reason, detail))
