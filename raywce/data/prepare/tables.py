"""Rows of TSV, CSV, JSONL, parquet and Arrow tables, read one at a time; a broken row never takes a neighbour along."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from raywce.data.prepare import arrow_tables
from raywce.data.prepare.cells import column_names_of, shown
from raywce.data.prepare.delimited import DELIMITED, read_delimited, read_header
from raywce.data.prepare.records import Record, broken, checked
from raywce.data.prepare.summary import Reason
from raywce.data.prepare.text_files import encoding_problem, read_lines
from raywce.errors import InputError

Reader = Callable[[Path, Collection[str]], Iterator[Record]]


def read_records(path: Path, columns: Collection[str] = ()) -> Iterator[Record]:
    """Yield the rows of a table, whose suffix names its kind.

    Args:
        path: the table.
        columns: what is read of a parquet or Arrow table, by plain name; audio in it is left where it is.
    """
    return READERS[path.suffix.lower()](path, columns)


def column_names(path: Path) -> list[str]:
    """Return the table's columns in lower case; those of its first row, for JSON lines.

    Raises:
        InputError: a parquet or Arrow file that is damaged.
    """
    if path.suffix.lower() in arrow_tables.SUFFIXES:
        return list(arrow_tables.types_by_name(path))
    return list(next((record.fields for record in read_records(path) if not record.broken), {}))


def header(path: Path) -> list[str]:
    """Return the names of a table's columns, those that it has twice twice; none for JSON lines."""
    if path.suffix.lower() in arrow_tables.SUFFIXES:
        return list(column_names_of(tuple(arrow_tables.read_schema(path).names)))
    found = read_header(path) if path.suffix.lower() in DELIMITED else None
    return list(found.names) if found else []


def check_table(path: Path) -> None:
    """Check that a table can be read, as far as that can be said before its rows are.

    Raises:
        InputError: it is damaged, or text in an encoding that can't be told.
    """
    if path.suffix.lower() in arrow_tables.SUFFIXES:
        arrow_tables.read_schema(path)
    elif problem := encoding_problem(path):
        raise InputError([problem])


def _read_json_lines(path: Path) -> Iterator[Record]:
    for number, line in read_lines(path):
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield _no_object(number, line, str(error))
            continue
        if isinstance(fields, dict):
            yield checked(Record(number, dict(zip(column_names_of(tuple(fields)), fields.values(), strict=True))))
        else:
            yield _no_object(number, line, shown(fields))


def _no_object(number: int, line: str, got: str) -> Record:
    return broken(number, {"text": line[:200]}, Reason.MALFORMED_ROW, f"not a JSON object: {got}")


def _all_columns(read: Callable[[Path], Iterator[Record]]) -> Reader:
    """Return a reader that reads all columns: lines of text are read whole."""
    return lambda path, _: read(path)


READERS: dict[str, Reader] = {
    **dict.fromkeys(DELIMITED, _all_columns(read_delimited)),
    ".jsonl": _all_columns(_read_json_lines),
    ".json": _all_columns(_read_json_lines),
    **dict.fromkeys(arrow_tables.SUFFIXES, arrow_tables.read_arrow_table),
}
