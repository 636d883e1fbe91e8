"""Columns that rows are made of: which of a table they are, and their cells by type."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from raywce.data.prepare import arrow_tables
from raywce.data.prepare.cells import BadCellError, as_label, as_number, as_text, cut, readable
from raywce.data.prepare.file_names import suffix_of, with_slashes
from raywce.data.prepare.records import Fields
from raywce.data.prepare.tables import check_table, column_names, header
from raywce.errors import Problems

AUDIO_COLUMNS: tuple[str, ...] = (
    *("file_name", "audio_filepath", "audio_filename", "audio_file", "path", "audio", "file", "audio_path"),
    *("wav_filename", "wav_path", "wav", "filename", "filepath", "file_path"),
)
TEXT_COLUMNS = ("sentence", "text", "transcription", "transcript", "raw_transcription", "normalized_text")
LANGUAGE_COLUMNS = ("language", "lang", "locale")
SPEAKER_COLUMNS = ("client_id", "speaker", "speaker_id")
ID_COLUMNS = ("id", "utterance_id")
RATE_COLUMNS = ("sampling_rate", "sample_rate")
NEMO_AUDIO = {"audio_filepath", "audio_filename"}  # what NeMo's manifests name the audio
TIME_COLUMNS = ("offset", "duration")  # of those manifests; they mean something else in other tables
_MOST_SECONDS = 1e9
_MOST_HERTZ = 1e6
_SHOWN = 200  # characters of all names of a table; one without a header has its first row in their place
NO_TABLE = "must be a table of speech and its transcripts"
_AUDIO_TYPES = "paths, bytes, {bytes, path}, {array, sampling_rate} or lists of floats"


def missing_columns(names: Sequence[str], text_columns: Sequence[str]) -> str | None:
    """Return which columns of speech a table lacks and which it has; None where it lacks none."""
    lacks, do = [], ""
    if not set(AUDIO_COLUMNS) & set(names):
        lacks.append(f"no column of audio ({', '.join(AUDIO_COLUMNS)})")
    if not set(text_columns) & set(names):
        lacks.append(f"no text column ({', '.join(dict.fromkeys(text_columns))})")
        do = ". Name it with --text-column"
    has = ", ".join(cut(readable(name)) for name in names)
    return f"{' and '.join(lacks)}, but {cut(has, _SHOWN)}{do}" if lacks else None


def check_columns(path: Path, text_columns: tuple[str, ...]) -> None:
    """Check a table that is going to be read.

    Raises:
        InputError: the table can't be read; a column is missing, there twice, or of a type that can't be used.
    """
    check_table(path)
    names, problems = column_names(path), Problems()
    missing = missing_columns(names, text_columns) if names else None  # else it has no rows
    if missing:
        problems.add(str(path), NO_TABLE, missing)
    every, types = header(path), _types(path)
    for name in used_columns(path, text_columns) if types else used_names(names, text_columns):
        if every.count(name) > 1:
            problems.add(str(path), f"must have one column {name}", f"{every.count(name)} columns of that name")
        elif name in types and not _fits(name, types[name], text_columns):
            problems.add(str(path), f"column {name} must hold {_wanted(name, text_columns)}", cut(str(types[name])))
    problems.raise_any()


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
    elif chosen[0] in NEMO_AUDIO:
        chosen += [name for name in TIME_COLUMNS if name in names]
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


def audio_of(fields: Fields) -> tuple[str, str]:
    """Return the audio's column and path in a row of `typed`; the path may be empty."""
    column = next((name for name in AUDIO_COLUMNS if isinstance(fields.get(name), dict)), None)
    column = column or next((name for name in AUDIO_COLUMNS if name in fields), "")
    value = fields.get(column)
    path = value.get("path") if isinstance(value, dict) else value
    return column, str(path or "")


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
        return with_slashes(as_text(name, value))
    parts: dict[str, object] = {"path": with_slashes(as_text(f"{name}.path", value.get("path")))}
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
    return arrow_tables.types_by_name(path) if suffix_of(path.name) in arrow_tables.SUFFIXES else {}


def _wanted(name: str, text_columns: tuple[str, ...]) -> str:
    if name in AUDIO_COLUMNS:
        return _AUDIO_TYPES
    return "text" if name in text_columns else "text or numbers"


def _fits(name: str, kind: pa.DataType, text_columns: tuple[str, ...]) -> bool:
    if name in AUDIO_COLUMNS:
        return arrow_tables.is_text(kind) or arrow_tables.holds_audio(kind)
    return arrow_tables.is_text(kind) or (name not in text_columns and arrow_tables.is_number(kind))
