"""Rows of TSV, CSV, JSONL, parquet and Arrow tables, read one at a time; a broken row never takes a neighbour along."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raywce.data.prepare.summary import Reason

_AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".oga", ".aiff", ".aif", ".m4a", ".au"}
_CONTINUATION = 100  # lines a quoted cell may run over
_BATCH = 1_000

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


def read_records(path: Path) -> Iterator[Record]:
    """Yield the rows of a table, whose suffix names its kind. Audio in parquet and Arrow is left where it is.

    TSV is read with quoting off, as Common Voice writes it; CSV is a quoted one, an unbalanced quote stays in its row.
    """
    return READERS[path.suffix.lower()](path)


def column_names(path: Path) -> list[str]:
    """Return the table's columns; those of its first row, for JSON lines."""
    if path.suffix == ".parquet":
        return list(pq.read_schema(path).names)
    if path.suffix == ".arrow":
        with pa.memory_map(str(path)) as source:
            return list(pa.ipc.open_stream(source).schema.names)
    return list(next((record.fields for record in read_records(path) if not record.broken), {}))


def is_audio_struct(kind: pa.DataType) -> bool:
    """Return whether a column holds audio in the form of `datasets`: {bytes, path}."""
    return pa.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}


def _read_tsv(path: Path) -> Iterator[Record]:
    lines = _lines(path)
    names = next(lines, (0, ""))[1].split("\t")
    for number, line in lines:
        yield _checked(number, names, line.split("\t"))


def _read_csv(path: Path) -> Iterator[Record]:
    lines = _lines(path)
    header = next(lines, (0, ""))[1]
    names = next(csv.reader([header]), [])
    ahead = deque(islice(lines, 1 + _CONTINUATION))
    while ahead:
        number, line = ahead.popleft()
        cells = _parse(line)
        if cells is None:
            cells = _continued(line, names, ahead)
        yield _unbalanced(number, names, line) if cells is None else _checked(number, names, cells)
        ahead.extend(islice(lines, 1 + _CONTINUATION - len(ahead)))


def _continued(line: str, names: list[str], ahead: deque[tuple[int, str]]) -> list[str] | None:
    """Take the next lines that a quoted cell of a row continues over, and return the row's cells.

    None, and no line is taken, where that would eat a whole row.
    """
    for count, (_, following) in enumerate(ahead, start=1):
        if _is_row(_parse(following), names):
            break
        line = f"{line}\n{following}"
        cells = _parse(line)
        if cells is not None and len(cells) == len(names):
            for _ in range(count):
                ahead.popleft()
            return cells
    return None


def _is_row(cells: list[str] | None, names: list[str]) -> bool:
    if cells is None or len(cells) != len(names):
        return False
    return any(Path(cell).suffix.lower() in _AUDIO_SUFFIXES for cell in cells)


def _unbalanced(number: int, names: list[str], line: str) -> Record:
    """Take the quote as a character, where the row then has as many cells as it should."""
    cells = line.split(",")
    fields = _padded(names, cells)
    if len(cells) == len(names):
        return _utf8(Record(number, fields, unbalanced_quote=True))
    detail = f"{len(cells)} cells for {len(names)} columns with the quote as a character"
    return _broken(number, fields, Reason.UNBALANCED_QUOTE, detail)


def _parse(line: str) -> list[str] | None:
    """Return the cells of a whole CSV row, or None where a quote is left open or closes in mid-cell."""
    try:
        return next(csv.reader([line + "\n"], strict=True), [])
    except csv.Error:
        return None


def _read_json_lines(path: Path) -> Iterator[Record]:
    for number, line in _lines(path):
        try:
            fields = json.loads(line)
        except ValueError as error:
            fields = str(error)
        if isinstance(fields, dict):
            yield _utf8(Record(number, fields))
        else:
            yield _broken(number, {"text": line[:200]}, Reason.MALFORMED_ROW, f"not a JSON object: {fields}")


def _read_parquet(path: Path) -> Iterator[Record]:
    with pq.ParquetFile(path) as file:
        columns = [
            f"{field.name}.path" if is_audio_struct(field.type) else field.name
            for field in file.schema_arrow
            if not pa.types.is_binary(field.type)
        ]
        yield from _from_batches(file.iter_batches(_BATCH, columns=columns))


def _read_arrow(path: Path) -> Iterator[Record]:
    with pa.memory_map(str(path)) as source:
        yield from _from_batches(_without_bytes(batch) for batch in pa.ipc.open_stream(source))


def _without_bytes(batch: pa.RecordBatch) -> pa.RecordBatch:
    for index, field in enumerate(batch.schema):
        if is_audio_struct(field.type):
            path_only = pa.StructArray.from_arrays([batch.column(index).field("path")], ["path"])
            batch = batch.set_column(index, field.name, path_only)
    return batch


def _from_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[Record]:
    number = 0
    for batch in batches:
        for start in range(0, len(batch), _BATCH):
            for fields in batch.slice(start, _BATCH).to_pylist():
                yield Record(number, fields)
                number += 1


READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".tsv": _read_tsv,
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".json": _read_json_lines,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield numbered lines that are not blank; bytes that are not UTF-8 become surrogates, found by `_utf8`."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def _checked(number: int, names: list[str], cells: list[str]) -> Record:
    """Pair cells and columns. Cells missing at the end are empty (old releases leave them out); more are an error."""
    fields = _padded(names, cells)
    if len(cells) > len(names):
        return _broken(number, fields, Reason.MALFORMED_ROW, f"{len(cells)} cells for {len(names)} columns")
    return _utf8(Record(number, fields))


def _padded(names: list[str], cells: list[str]) -> Fields:
    return dict(zip(names, cells + [""] * (len(names) - len(cells)), strict=False))


def _utf8(record: Record) -> Record:
    for name, value in record.fields.items():
        if isinstance(value, str) and _readable(value) != value:
            return _broken(record.number, record.fields, Reason.NOT_UTF8, f"in column {name}")
    return record


def _broken(number: int, fields: Fields, reason: Reason, detail: str) -> Record:
    return Record(number, {name: _readable(value) for name, value in fields.items()}, (reason, detail))


def _readable(value: object) -> object:
    """Return text so that it can be written: bytes that are not UTF-8 show as `?`."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
