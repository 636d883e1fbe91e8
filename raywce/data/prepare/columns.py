"""Columns that rows are made of: which of a table they are, and their cells by type."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pyarrow as pa

from raywce.data.prepare import arrow_tables
from raywce.data.prepare.cells import BadCellError, as_label, as_number, as_text, readable
from raywce.data.prepare.records import Fields
from raywce.data.prepare.sources import AUDIO_COLUMNS
from raywce.data.prepare.tables import header
from raywce.errors import Problems

LANGUAGE_COLUMNS = ("language", "lang", "locale")
SPEAKER_COLUMNS = ("client_id", "speaker", "speaker_id")
ID_COLUMNS = ("id", "utterance_id")
RATE_COLUMNS = ("sampling_rate", "sample_rate")
TIME_COLUMNS = ("offset", "duration")  # of NeMo's manifests; they mean something else in other tables
_MOST_SECONDS = 1e9
_MOST_HERTZ = 1e6
_SHOWN = 80  # characters of a name; a table without a header has its first row in their place
_AUDIO_TYPES = "paths, bytes, {bytes, path}, {array, sampling_rate} or lists of floats"


def check_columns_of(path: Path, names: list[str], text_columns: tuple[str, ...], problems: Problems) -> None:
    """Add a problem for each column that a table lacks, has twice, or holds in a type that can't be used."""
    found = ", ".join(readable(name)[:_SHOWN] for name in names)
    if not set(AUDIO_COLUMNS) & set(names):
        problems.add(str(path), f"must have a column of {', '.join(AUDIO_COLUMNS)}", found)
    if not set(text_columns) & set(names):
        rule = f"must have a text column ({', '.join(dict.fromkeys(text_columns))})"
        problems.add(str(path), rule, found, "Name it with --text-column.")
    every, types = header(path), _types(path)
    for name in used_columns(path, text_columns) if types else used_names(names, text_columns):
        if every.count(name) > 1:
            problems.add(str(path), f"must have one column {name}", f"{every.count(name)} columns of that name")
        elif name in types and not _fits(name, types[name], text_columns):
            problems.add(str(path), f"column {name} must hold {_wanted(name, text_columns)}", str(types[name])[:_SHOWN])


def used_columns(path: Path, text_columns: tuple[str, ...]) -> list[str]:
    """Return the columns of a parquet or Arrow table that rows are made of; none for other tables, read whole."""
    types = _types(path)
    audio = [name for name in AUDIO_COLUMNS if name in types and arrow_tables.holds_audio(types[name])]
    return used_names(types, text_columns, audio[:1])


def used_names(names: Collection[str], text_columns: tuple[str, ...], audio: Collection[str] = ()) -> list[str]:
    """Return those of a table's columns that rows are made of: for most purposes the first that there is.

    Args:
        names: all columns of the table.
        text_columns: columns that may hold the transcript.
        audio: the column that holds the audio itself; where there is none, the first of `AUDIO_COLUMNS` holds paths.
    """
    chosen = [_first(columns, names) for columns in (audio or AUDIO_COLUMNS, text_columns, LANGUAGE_COLUMNS)]
    chosen += [_first(SPEAKER_COLUMNS, names), _first(("split",), names)]
    chosen += [name for name in ID_COLUMNS if name in names]
    if audio:
        chosen.append(_first(RATE_COLUMNS, names))
    elif "audio_filepath" in names:
        chosen += ["audio_filepath", *(name for name in TIME_COLUMNS if name in names)]
    return list(dict.fromkeys(name for name in chosen if name))


def typed(fields: Fields, text_columns: tuple[str, ...]) -> tuple[Fields, str]:
    """Return a row's cells by the types that they should have, and what is wrong with the first that has another.

    Text comes without surrounding white space, times and rates as numbers; what is missing or wrong is "" or None.
    """
    cells, problem = dict(fields), ""
    for name, read in _readers(fields, text_columns):
        try:
            cells[name] = read(name, fields[name])
        except BadCellError as error:
            cells[name] = None
            problem = problem or str(error)
    return cells, problem


_Reader = Callable[[str, object], object]


def _readers(fields: Fields, text_columns: tuple[str, ...]) -> Iterator[tuple[str, _Reader]]:
    embedded = [name for name in AUDIO_COLUMNS if isinstance(fields.get(name), dict)][:1]
    for name in used_names(fields, text_columns, embedded):
        if name in AUDIO_COLUMNS:
            yield name, _as_audio
        elif name in text_columns:
            yield name, as_text
        elif name in SPEAKER_COLUMNS:
            yield name, as_label
        elif name in TIME_COLUMNS:
            yield name, _as_seconds
        elif name in RATE_COLUMNS:
            yield name, _as_hertz
        else:
            yield name, _as_name


def _as_audio(name: str, value: object) -> object:
    """Return a path, or the parts of audio that the table holds."""
    if not isinstance(value, dict):
        return as_text(name, value)
    parts: dict[str, object] = {"path": as_text(f"{name}.path", value.get("path"))}
    if "sampling_rate" in value:
        parts["sampling_rate"] = _as_hertz(f"{name}.sampling_rate", value["sampling_rate"])
    return parts


def _as_name(name: str, value: object) -> str:
    """Return the text of a language, split or id; a number names none of them.

    It is a class, or starts again in each table, and FLEURS gives one to all who read a sentence.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "" if is_number else as_text(name, value)


def _as_seconds(name: str, value: object) -> float | None:
    return as_number(name, value, 0, _MOST_SECONDS)


def _as_hertz(name: str, value: object) -> float | None:
    return as_number(name, value, 1, _MOST_HERTZ)


def _first(columns: Collection[str], names: Collection[str]) -> str | None:
    return next((name for name in columns if name in names), None)


def _types(path: Path) -> dict[str, pa.DataType]:
    return arrow_tables.types_by_name(path) if path.suffix.lower() in arrow_tables.SUFFIXES else {}


def _wanted(name: str, text_columns: tuple[str, ...]) -> str:
    if name in AUDIO_COLUMNS:
        return _AUDIO_TYPES
    return "text" if name in text_columns else "text or numbers"


def _fits(name: str, kind: pa.DataType, text_columns: tuple[str, ...]) -> bool:
    if name in AUDIO_COLUMNS:
        return arrow_tables.is_text(kind) or arrow_tables.holds_audio(kind)
    return arrow_tables.is_text(kind) or (name not in text_columns and arrow_tables.is_number(kind))
