"""Rows made from the records of tables: id, cleaned-up text, language, split and the place of the audio."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import SupportsFloat

from raywce.data.prepare.sources import AUDIO_COLUMNS, TEXT_COLUMNS, Table, language_of, split_of
from raywce.data.prepare.summary import Reason, Reject
from raywce.data.prepare.tables import Fields, Record, column_names, read_records
from raywce.errors import Problems

LANGUAGE_COLUMNS = ("language", "lang", "locale")
SPEAKER_COLUMNS = ("client_id", "speaker", "speaker_id")
_EMBEDDED = {".parquet", ".arrow"}
_BEFORE_CLOSING = re.compile(r"\s+([,.;:!?…)\]}»”]+)(?=\s|$)")
_AFTER_OPENING = re.compile(r"(?<!\S)([(\[{«“¿¡]+)\s+")


@dataclass(frozen=True)
class RowOptions:
    """Options for reading rows: fallbacks for what the tables don't say, the text's column and its clean-ups."""

    language: str | None = None
    split: str | None = None
    text_column: str | None = None
    clean_ups: tuple[str, ...] = ()

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that may hold the transcript, the first choice first."""
        return (self.text_column,) if self.text_column else TEXT_COLUMNS


@dataclass(frozen=True)
class Row:
    """One utterance to prepare.

    Attributes:
        source: table and row number, for the list of rejects.
        id: unique over the corpus.
        text: the transcript, cleaned up as asked.
        language: its code.
        split: train, dev or test.
        speaker: who speaks; None where unknown.
        path: the audio file, or the table that embeds it.
        index: the row of an embedding table; None for an audio file.
        column: the column of an embedding table.
        offset: where the utterance starts in the audio, seconds; None for a whole file.
        seconds: how long it is; None for up to the end.
    """

    source: str
    id: str
    text: str
    language: str
    split: str
    speaker: str | None
    path: str
    index: int | None = None
    column: str = ""
    offset: float | None = None
    seconds: float | None = None

    def dump(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def load(line: str) -> Row:
        """Return what `dump` wrote."""
        return Row(**json.loads(line))

    def reject(self, reason: Reason, detail: str) -> Reject:
        """Return the reject that stands for this row."""
        return Reject(self.source, self.split, self.language, self.id, self.text, reason, detail)


def check_columns(tables: list[Table], options: RowOptions) -> None:
    """Raise an `InputError` naming each table without a column for audio or for text."""
    problems = Problems()
    for table in tables:
        names = column_names(table.path)
        if not names:
            continue  # no rows
        if not set(AUDIO_COLUMNS) & set(names):
            problems.add(str(table.path), f"must have a column of {', '.join(AUDIO_COLUMNS)}", ", ".join(names))
        if not set(options.text_columns) & set(names):
            rule = f"must have a text column ({', '.join(options.text_columns)})"
            problems.add(str(table.path), rule, ", ".join(names), "Name it with --text-column.")
    problems.raise_any()


def read_rows(table: Table, options: RowOptions) -> Iterator[tuple[Row | Reject, bool]]:
    """Yield each row of a table, usable or not, and whether an unbalanced quote in it was taken as it is written."""
    for record in read_records(table.path):
        yield _row(table, record, options), record.unbalanced_quote


def _row(table: Table, record: Record, options: RowOptions) -> Row | Reject:
    fields = record.fields
    column, audio = _audio(fields)
    language = _language(table, fields, options)
    split = split_of(_text(fields, ("split",))) or _split_of_path(audio) or table.split or options.split
    text = clean(_text(fields, options.text_columns), options.clean_ups)
    embedded = table.path.suffix in _EMBEDDED and isinstance(fields.get(column), dict)
    times = _times(fields)
    offset, seconds = _number(times.get("offset")), _number(times.get("duration"))
    identifier = _identifier(table, record, audio, split, embedded, offset)
    source = f"{table.path}:{record.number}"
    problem = record.broken or _problem(language, split, text, fields)
    if problem or language is None or split is None:
        reason, detail = problem or (Reason.MALFORMED_ROW, "")
        return Reject(source, split, language, identifier, text, reason, detail)
    path = str(table.path if embedded else _resolve(table, audio))
    index = record.number if embedded else None
    speaker = _text(fields, SPEAKER_COLUMNS) or None
    return Row(source, identifier, text, language, split, speaker, path, index, column, offset, seconds)


def _problem(language: str | None, split: str | None, text: str, fields: Fields) -> tuple[Reason, str] | None:
    if language is None:
        value = _text(fields, LANGUAGE_COLUMNS)
        return Reason.UNKNOWN_LANGUAGE, f"{value!r} in the column" if value else "no column, folder or --language"
    if split is None:
        value = _text(fields, ("split",))
        return Reason.UNKNOWN_SPLIT, f"{value!r} in the column" if value else "no column, folder or --split"
    if not text:
        return Reason.EMPTY_TRANSCRIPT, ""
    for name, time in _times(fields).items():
        if time not in (None, "") and _number(time) is None:
            return Reason.MALFORMED_ROW, f"{name} is {time!r}"
    return None


def _text(fields: Fields, columns: tuple[str, ...]) -> str:
    """Return the first of the columns that the table has, as text; empty where it has none."""
    value = next((fields[name] for name in columns if name in fields), None)
    return "" if value is None else str(value).strip()


def _audio(fields: Fields) -> tuple[str, str]:
    """Return the audio's column and path; the path within an embedding table may be empty."""
    column = next((name for name in AUDIO_COLUMNS if isinstance(fields.get(name), dict)), None)
    column = column or next((name for name in AUDIO_COLUMNS if name in fields), "")
    value = fields.get(column)
    path = value.get("path") if isinstance(value, dict) else value
    return column, str(path or "")


def _language(table: Table, fields: Fields, options: RowOptions) -> str | None:
    """Return the language by column, else by option, else by folder; a value that is no language stays unknown."""
    value = _text(fields, LANGUAGE_COLUMNS)
    if value and not value.isdigit():  # a number is a class label, which says nothing here
        return language_of(value) or options.language
    return options.language or table.language


def _split_of_path(audio: str) -> str | None:
    """Return the split that a folder in a relative audio path names (`train/clip.wav`)."""
    path = Path(audio)
    folders = () if path.is_absolute() else reversed(path.parent.parts)
    return next((found for folder in folders if (found := split_of(folder))), None)


def _times(fields: Fields) -> Fields:
    """Return NeMo's offset and duration as they are written; they mean something else in other tables."""
    return {name: fields.get(name) for name in ("offset", "duration")} if "audio_filepath" in fields else {}


def _number(value: object) -> float | None:
    """Return a finite number that is not below 0; None for anything else."""
    try:
        number = float(value) if isinstance(value, str | bytes | SupportsFloat) else math.nan
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None


def _resolve(table: Table, audio: str) -> Path:
    name = Path(audio)
    if table.clip_ids and audio and not name.suffix:
        name = name.with_name(f"{name.name}.mp3")  # the first releases left the suffix out
    return table.audio_folder / name


def _identifier(
    table: Table, record: Record, audio: str, split: str | None, embedded: bool, offset: float | None
) -> str:
    """Return the table's own id, else one made from the path.

    A typed number is no id: it starts again in each language, and FLEURS gives one to all who read a sentence.
    """
    given = next((record.fields[name] for name in ("id", "utterance_id") if record.fields.get(name)), None)
    if isinstance(given, str) and not record.broken:  # the cells of a broken row may be shifted
        return given.strip()
    prefix = Path(table.prefix)
    if embedded and split_of(prefix.name) != split:
        prefix = prefix / (split or "")
    if not audio:
        return str(prefix / table.path.stem / str(record.number))
    stem = audio.removesuffix(Path(audio).suffix)
    if table.clip_ids:
        return Path(stem).name
    part = "" if offset is None else f"@{offset:.3f}"
    return str(prefix / stem) + part  # an absolute path stays as it is


def remove_punctuation_spaces(text: str) -> str:
    """Remove spaces before closing and after opening punctuation, as arXiv 2409.16954 does.

    Punctuation that touches a word on its other side (` .5`, ` ...and`) is left alone.
    """
    return _AFTER_OPENING.sub(r"\1", _BEFORE_CLOSING.sub(r"\1", text))


CLEAN_UPS: dict[str, Callable[[str], str]] = {
    "punctuation-spaces": remove_punctuation_spaces,
    "nfc": partial(unicodedata.normalize, "NFC"),
}


def clean(text: str, names: Iterable[str] = ()) -> str:
    """Strip surrounding white space and apply the named clean-ups (keys of `CLEAN_UPS`) in order."""
    for name in names:
        text = CLEAN_UPS[name](text)
    return text.strip()
