"""Rows made from the records of tables: id, cleaned-up text, language, split and the place of the audio."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from raywce.data.prepare import arrow_tables
from raywce.data.prepare.cells import plain_name, readable, shown
from raywce.data.prepare.columns import (
    ID_COLUMNS,
    LANGUAGE_COLUMNS,
    NEMO_AUDIO,
    RATE_COLUMNS,
    SPEAKER_COLUMNS,
    TEXT_COLUMNS,
    TIME_COLUMNS,
    audio_of,
    typed,
    used_columns,
)
from raywce.data.prepare.delimited import DELIMITED
from raywce.data.prepare.file_names import find_file, suffix_of
from raywce.data.prepare.forms import Table
from raywce.data.prepare.languages import LanguageMap, ReadLanguage, language_of_name, read_language
from raywce.data.prepare.records import Fields, Record
from raywce.data.prepare.splits import split_of, split_of_path
from raywce.data.prepare.summary import Reason, Reject
from raywce.data.prepare.tables import read_records
from raywce.data.schema import SAMPLE_RATE

_BEFORE_CLOSING = re.compile(r"\s+([,.;:!?…)\]}»”]+)(?=\s|$)")
_AFTER_OPENING = re.compile(r"(?<!\S)([(\[{«“¿¡]+)\s+")


@dataclass(frozen=True)
class RowOptions:
    """Options for reading rows: fallbacks for what the tables don't say, the text's column and clean-ups, languages."""

    language: str | None = None
    split: str | None = None
    text_column: str | None = None
    clean_ups: tuple[str, ...] = ()
    language_map: LanguageMap = field(default_factory=dict)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that may hold the transcript, the first choice first."""
        return (self.text_column, plain_name(self.text_column)) if self.text_column else TEXT_COLUMNS


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
        rate: sampling rate of audio that is a list of samples, Hz; None for an audio file.
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
    rate: int | None = None

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


@dataclass(frozen=True)
class ReadRow:
    """One row as read, usable or not.

    Attributes:
        item: the row, or why it can't be used.
        audio: the audio file that it names, whether there is one or not; None where it names none.
        language: its language and the text that this was read from; None where unknown.
        unread_language: what its column of languages holds, where no language could be read from that.
        unread_split: what its column of splits holds, where that is none.
        unbalanced_quote: whether an unbalanced quote in it was taken as it is written.
    """

    item: Row | Reject
    audio: str | None
    language: ReadLanguage | None
    unread_language: str
    unread_split: str
    unbalanced_quote: bool


def read_rows(table: Table, options: RowOptions) -> Iterator[ReadRow]:
    """Yield each row of a table."""
    for record in read_records(table.path, used_columns(table.path, options.text_columns)):
        yield _row(table, record, options)


def _row(table: Table, record: Record, options: RowOptions) -> ReadRow:
    fields, malformed = typed(record.fields, options.text_columns)
    column, audio = audio_of(fields)
    in_column = _language_column(fields)
    told = read_language(in_column, options.language_map) if in_column else None
    language = told or _language(table, audio, options)
    split_column = _text(fields, ("split",))
    split_told = split_of(split_column)
    split = split_told or table.split or split_of_path(audio)
    split = split or table.folder_split or options.split
    text = clean(_text(fields, options.text_columns), options.clean_ups)
    embedded = isinstance(fields.get(column), dict) and suffix_of(table.path.name) in arrow_tables.SUFFIXES
    offset, seconds = _times(fields) if column in NEMO_AUDIO else (None, None)
    # The cells of a broken row may be shifted.
    given = "" if record.broken else _given_id(fields, suffix_of(table.path.name) in DELIMITED)
    identifier = readable(given or _made_id(table, record, audio, split, embedded, offset))
    source = readable(f"{table.path}:{record.number}")
    path = str(table.path if embedded else _resolve(table, audio))
    problem = record.broken or ((Reason.MALFORMED_ROW, malformed) if malformed else None)
    problem = problem or _problem(language, split, text, fields)
    if not problem and not audio and not embedded:
        problem = Reason.MISSING_FILE, f"no path in column {column}"
    item: Row | Reject
    if problem or language is None or split is None:
        reason, detail = problem or (Reason.MALFORMED_ROW, "")
        item = Reject(source, split, language and language.code, identifier, text, reason, detail)
    else:
        index = record.number if embedded else None
        rate = _rate(fields, column) if embedded else None
        speaker = _text(fields, SPEAKER_COLUMNS) or None
        item = Row(source, identifier, text, language.code, split, speaker, path, index, column, offset, seconds, rate)
    unread, unread_split = "" if told else in_column, "" if split_told else split_column
    named = str(table.path.parent / audio) if embedded else path
    return ReadRow(item, named if audio else None, language, unread, unread_split, record.unbalanced_quote)


def _problem(language: ReadLanguage | None, split: str | None, text: str, fields: Fields) -> tuple[Reason, str] | None:
    if language is None:
        value = _text(fields, LANGUAGE_COLUMNS)
        said = f"{shown(value)} in the column is no language; " if value else ""
        return Reason.UNKNOWN_LANGUAGE, f"{said}no name or folder says it: use --language or --language-map"
    if split is None:
        value = _text(fields, ("split",))
        said = f"{shown(value)} in the column is no split; " if value else ""
        return Reason.UNKNOWN_SPLIT, f"{said}no name or folder says it: use --split"
    if any(map(str.isalnum, text)):
        return None
    return Reason.EMPTY_TRANSCRIPT, f"{shown(text)} has no letter and no digit" if text else ""


def _text(fields: Fields, columns: tuple[str, ...]) -> str:
    """Return the first of the columns that the table has, as text; empty where it has none."""
    value = next((fields[name] for name in columns if name in fields), None)
    return "" if value is None else str(value).strip()


def _language_column(fields: Fields) -> str:
    """Return the text of the language's column; a number is a class label, which says nothing here."""
    value = _text(fields, LANGUAGE_COLUMNS)
    return "" if value.isdigit() else value


def _language(table: Table, audio: str, options: RowOptions) -> ReadLanguage | None:
    """Return the language where no column says it: by option, the table's name, its folders, the audio's folders."""
    folders = () if table.language or table.folder_language else reversed(Path(audio).parent.parts)
    mapping = options.language_map
    by_audio = next((found for folder in folders if (found := language_of_name(folder, mapping))), None)
    named = table.language or table.folder_language or by_audio
    if options.language:
        return ReadLanguage(options.language, named.written if named else options.language)
    return named


def _times(fields: Fields) -> tuple[float | None, float | None]:
    """Return NeMo's offset and duration, seconds."""
    times = (fields.get(name) for name in TIME_COLUMNS)
    offset, seconds = (time if isinstance(time, float) else None for time in times)
    return offset, seconds


def _rate(fields: Fields, column: str) -> int | None:
    """Return the sampling rate of a list of samples, Hz: that beside it, else that of a column, else 16 kHz."""
    audio = fields.get(column)
    if isinstance(audio, dict) and "sampling_rate" in audio:
        rate = audio["sampling_rate"]
    else:
        rate = next((fields[name] for name in RATE_COLUMNS if fields.get(name)), SAMPLE_RATE)
    return int(rate) if isinstance(rate, int | float) else None


def _resolve(table: Table, audio: str) -> Path:
    name = Path(audio)
    if table.clip_ids and name.name and not name.suffix:
        name = name.with_name(f"{name.name}.mp3")  # the first releases left the suffix out
    return find_file(table.audio_folder / name)


def _given_id(fields: Fields, is_delimited: bool) -> str:
    """Return the table's own id; empty where it has none.

    A number is none: it may be that of a row or a sentence. In CSV and TSV it is text like all other cells.
    """
    found = next((text for name in ID_COLUMNS if (text := _text(fields, (name,)))), "")
    return "" if is_delimited and found.isdecimal() else found


def _made_id(table: Table, record: Record, audio: str, split: str | None, embedded: bool, offset: float | None) -> str:
    """Return an id made from the path of the audio, or from the row's place."""
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
