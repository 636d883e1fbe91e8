"""Rows of TSV, CSV, JSON, parquet and Arrow tables, read one at a time; a broken row never takes a neighbour along."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path

from raywce.data.prepare import arrow_tables
from raywce.data.prepare.cells import MARK, column_names_of, shown
from raywce.data.prepare.delimited import DELIMITED, read_delimited, read_header
from raywce.data.prepare.file_names import suffix_of
from raywce.data.prepare.records import Record, broken, checked
from raywce.data.prepare.summary import Reason
from raywce.data.prepare.text_files import encoding_problem, read_lines, read_text
from raywce.errors import InputError

_LOOKED_AT = 1_000  # rows of a text table, to find its columns
_TEXT = 200  # characters of what is no row
_SPACE = re.compile(r"\s*")

Reader = Callable[[Path, Collection[str]], Iterator[Record]]


def read_records(path: Path, columns: Collection[str] = ()) -> Iterator[Record]:
    """Yield the rows of a table, whose suffix names its kind.

    Args:
        path: the table.
        columns: what is read of a parquet or Arrow table, by plain name; audio in it is left where it is.
    """
    return READERS[suffix_of(path.name)](path, columns)


def column_names(path: Path) -> list[str]:
    """Return the names of a table's columns; none of a text table without rows.

    Those of JSON are the keys of the first whole row.

    Raises:
        InputError: the file can't be read.
    """
    suffix = suffix_of(path.name)
    if suffix in arrow_tables.SUFFIXES:
        return list(arrow_tables.types_by_name(path))
    for record in islice(read_records(path), _LOOKED_AT):
        if not record.broken or suffix in DELIMITED:  # these have a header
            return list(record.fields)
    return []


def header(path: Path) -> list[str]:
    """Return the names of a table's columns, those that it has twice twice; none for JSON lines."""
    if suffix_of(path.name) in arrow_tables.SUFFIXES:
        return list(column_names_of(tuple(arrow_tables.read_schema(path).names)))
    found = read_header(path) if suffix_of(path.name) in DELIMITED else None
    return list(found.names) if found else []


def check_table(path: Path) -> None:
    """Check that a table can be read, as far as that can be said before its rows are.

    Raises:
        InputError: it is damaged, or text in an encoding that can't be told.
    """
    if suffix_of(path.name) in arrow_tables.SUFFIXES:
        arrow_tables.read_schema(path)
    elif problem := encoding_problem(path):
        raise InputError([problem])


def _read_json(path: Path) -> Iterator[Record]:
    """Read one object a line, or one array of objects; in the latter a row's number is its place, from 1."""
    _, first = next(read_lines(path), (0, ""))
    is_array = first.lstrip(f"{MARK} \t").startswith("[")
    return _read_json_array(read_text(path)) if is_array else _read_json_lines(path)


def _read_json_array(text: str) -> Iterator[Record]:
    decoder, number, end = json.JSONDecoder(), 0, _after_space(text, text.index("[") + 1)
    while text[end : end + 1] not in ("]", ""):
        number, start = number + 1, end
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            yield _no_row(number, text[start:], f"the array ends here: {error}")
            return
        yield _row(number, text[start:end], value)
        end = _after_space(text, end)
        end = _after_space(text, end + 1) if text[end : end + 1] == "," else end
    if text[end : end + 1] != "]" or text[end + 1 :].strip():
        yield _no_row(number + 1, text[end:], "the file must end with the array's ]")


def _after_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start


def _read_json_lines(path: Path) -> Iterator[Record]:
    for number, line in read_lines(path):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield _no_row(number, line, f"not a JSON object: {error}")
        else:
            yield _row(number, line, value)


def _row(number: int, text: str, value: object) -> Record:
    """Return the row that a JSON value is; one that is no object is broken."""
    if not isinstance(value, dict):
        return _no_row(number, text, f"not a JSON object: {shown(value)}")
    return checked(Record(number, dict(zip(column_names_of(tuple(value)), value.values(), strict=True))))


def _no_row(number: int, text: str, detail: str) -> Record:
    return broken(number, {"text": text[:_TEXT]}, Reason.MALFORMED_ROW, detail)


def _all_columns(read: Callable[[Path], Iterator[Record]]) -> Reader:
    """Return a reader that reads all columns: lines of text are read whole."""
    return lambda path, _: read(path)


READERS: dict[str, Reader] = {
    **dict.fromkeys(DELIMITED, _all_columns(read_delimited)),
    ".jsonl": _all_columns(_read_json),
    ".json": _all_columns(_read_json),
    **dict.fromkeys(arrow_tables.SUFFIXES, arrow_tables.read_arrow_table),
}
