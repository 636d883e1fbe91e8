"""Parquet and Arrow tables by the types of their columns, and the audio that they hold."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile

from raywce.data.prepare.cells import column_names_of
from raywce.data.prepare.failures import failures_named
from raywce.data.prepare.file_names import suffix_of
from raywce.data.prepare.parquet_files import parquet_reader
from raywce.data.prepare.records import Fields, Record, checked

SUFFIXES = (".parquet", ".arrow")
_BATCH = 1_000  # rows of a table without its audio
_AUDIO_BATCH = 16  # rows of a table with its audio


def read_schema(path: Path) -> pa.Schema:
    """Return a table's columns and their types.

    Raises:
        InputError: the file is damaged, or no parquet file or Arrow stream.
    """
    with failures_named(path):
        if suffix_of(path.name) == ".parquet":
            with parquet_reader(path) as file:
                return _with_names(file.schema_arrow)
        with pa.memory_map(os.fsencode(path)) as source:
            return _with_names(pa.ipc.open_stream(source).schema)


def _with_names(schema: pa.Schema) -> pa.Schema:
    """Return a schema once all its names were read; raise a `UnicodeDecodeError` where one is not UTF-8."""
    fields = list(schema)
    for field in fields:  # those within others come behind them
        _ = field.name
        fields += [field.type.field(number) for number in range(field.type.num_fields)]
    return schema


def types_by_name(path: Path) -> dict[str, pa.DataType]:
    """Return the type of each column by its plain name; errors as of `read_schema`."""
    schema = read_schema(path)
    return dict(zip(column_names_of(tuple(schema.names)), schema.types, strict=True))


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds text, or nothing at all."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(test(kind) for test in tests)


def is_number(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def holds_audio(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds audio itself.

    That is a file's bytes, `{bytes, path}` of `datasets`, `{array, sampling_rate}`, or a list of samples as floats.
    """
    if pa.types.is_struct(kind):
        parts = {field.name: field.type for field in kind}
        if "bytes" in parts:
            return _is_bytes(parts["bytes"]) or pa.types.is_null(parts["bytes"])
        return "sampling_rate" in parts and "array" in parts and _is_samples(parts["array"])
    return _is_bytes(kind) or _is_samples(kind)


def read_arrow_table(path: Path, columns: Collection[str]) -> Iterator[Record]:
    """Yield the rows of a table, `columns` of them; of audio that it holds, only path and sampling rate.

    Raises:
        InputError: the file is damaged.
    """
    schema = read_schema(path)
    names = dict(zip(column_names_of(tuple(schema.names)), schema.names, strict=True))
    wanted = {name: schema.field(names[name]) for name in names if name in columns}
    with failures_named(path):
        batches = _parquet_batches(path, wanted) if suffix_of(path.name) == ".parquet" else _arrow_batches(path, wanted)
        number = 0
        for batch in batches:
            for start in range(0, batch.num_rows, _BATCH):
                for fields in _rows(batch.slice(start, _BATCH), wanted):
                    yield checked(Record(number, fields))
                    number += 1


def read_audio(path: Path, column: str, numbers: Iterable[int]) -> Iterator[pa.Scalar]:
    """Yield the cells of a column of audio by ascending row number.

    Raises:
        InputError: the file is damaged.
    """
    schema = read_schema(path)
    name = schema.names[list(column_names_of(tuple(schema.names))).index(column)]
    cells = _parquet_cells if suffix_of(path.name) == ".parquet" else _arrow_cells
    with failures_named(path):
        yield from cells(path, name, numbers)


def audio_file(cell: pa.Scalar, rate: int | None) -> bytes | None:
    """Return the audio of a cell as a file's bytes; None where it has none.

    Args:
        cell: of a column that `holds_audio`.
        rate: sampling rate of a list of samples, Hz; None where unknown.

    Raises:
        ValueError: samples without a rate, or that libsndfile can't write.
    """
    if pa.types.is_struct(cell.type) and cell.is_valid:
        names = {field.name for field in cell.type}
        cell = cell["bytes"] if "bytes" in names else cell["array"]
    if not cell.is_valid:
        return None
    if not _is_samples(cell.type):
        return bytes(cell.as_py())
    if rate is None:
        raise ValueError("samples without a sampling rate")
    return _wav(cell.values, rate)


def audio_path(cell: pa.Scalar) -> str:
    """Return the path in a cell of audio; empty where it has none."""
    parts = cell.as_py() if pa.types.is_struct(cell.type) else None
    return str((parts or {}).get("path") or "")


def _wav(samples: pa.Array, rate: int) -> bytes:
    """Return samples as a WAV file of 32-bit floats, which holds those of 16-bit audio exactly."""
    buffer = io.BytesIO()
    values = samples.to_numpy(zero_copy_only=False).astype(np.float32)
    try:
        soundfile.write(buffer, values, rate, format="WAV", subtype="FLOAT")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{len(values)} samples at {rate} Hz: {error.error_string}") from error
    return buffer.getvalue()


def _is_bytes(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _is_samples(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests) and bool(pa.types.is_floating(kind.value_type))


def _parts(field: pa.Field) -> list[str]:
    """Return the parts of a column of audio that a row needs before its audio is decoded."""
    names = {part.name for part in field.type} if pa.types.is_struct(field.type) else set()
    return sorted(names & {"path", "sampling_rate" if "array" in names else "path"})


def _parquet_batches(path: Path, wanted: dict[str, pa.Field]) -> Iterator[pa.RecordBatch]:
    columns = []
    for field in wanted.values():
        columns += [f"{field.name}.{part}" for part in _parts(field)] if holds_audio(field.type) else [field.name]
    with parquet_reader(path) as file:
        yield from file.iter_batches(_BATCH, columns=columns)


def _arrow_batches(path: Path, wanted: dict[str, pa.Field]) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(os.fsencode(path)) as source:
        for batch in pa.ipc.open_stream(source):
            chosen = batch.select([field.name for field in wanted.values()])
            for column in chosen.columns:
                _check_offsets(column)
            yield chosen


def _check_offsets(column: pa.Array) -> None:
    """Raise an `ArrowInvalid` where offsets lead out of a column's data: pyarrow reads a damaged stream as it is."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.view(pa.binary() if pa.types.is_string(column.type) else pa.large_binary())  # of any encoding
    column.validate(full=True)


def _rows(batch: pa.RecordBatch, wanted: dict[str, pa.Field]) -> Iterator[Fields]:
    """Yield the rows of a batch; a cell of audio is a dictionary of its parts, empty where it has none of them."""
    columns: dict[str, list[object]] = {}
    for name, field in wanted.items():
        if holds_audio(field.type):
            parts = {part: _values(pc.struct_field(batch.column(field.name), part)) for part in _parts(field)}
            columns[name] = [{part: values[i] for part, values in parts.items()} for i in range(batch.num_rows)]
        else:
            columns[name] = _values(batch.column(field.name))
    for cells in zip(*columns.values(), strict=True):
        yield dict(zip(columns, cells, strict=True))


def _values(column: pa.Array) -> list[object]:
    """Return a column's values; text that is not UTF-8 comes with a surrogate for each wrong byte."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        data = column.cast(pa.large_binary()).to_pylist()
        return [value if value is None else value.decode("utf-8", "surrogateescape") for value in data]


def _arrow_cells(path: Path, column: str, numbers: Iterable[int]) -> Iterator[pa.Scalar]:
    with pa.memory_map(os.fsencode(path)) as source:
        cells = pa.ipc.open_stream(source).read_all()[column]
        for number in numbers:
            yield cells[number]


def _parquet_cells(path: Path, column: str, numbers: Iterable[int]) -> Iterator[pa.Scalar]:
    """Yield cells by ascending row number; only row groups that hold one are read, a few rows at a time."""
    wanted = set(numbers)
    with parquet_reader(path) as file:
        start = 0
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            if not wanted.isdisjoint(range(start, stop)):
                batches = file.iter_batches(_AUDIO_BATCH, row_groups=[group], columns=[column])
                cells = enumerate(chain.from_iterable(batch.column(0) for batch in batches), start)
                yield from (cell for number, cell in cells if number in wanted)
            start = stop
