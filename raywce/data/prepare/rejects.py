"""Rows that `prepare` leaves out: their reasons, and the table they are listed in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


class Reason(StrEnum):
    """Why a row was left out; one reason a row, the first that was met."""

    MALFORMED_ROW = "malformed_row"
    NOT_UTF8 = "not_utf8"
    UNBALANCED_QUOTE = "unbalanced_quote"
    UNKNOWN_LANGUAGE = "unknown_language"
    UNKNOWN_SPLIT = "unknown_split"
    EMPTY_TRANSCRIPT = "empty_transcript"
    REPEATED_ID = "repeated_id"
    LABEL_LIMIT = "label_limit"
    MISSING_FILE = "missing_file"
    UNREADABLE_FILE = "unreadable_file"
    EMPTY_FILE = "empty_file"
    UNDECODABLE_AUDIO = "undecodable_audio"
    TRUNCATED_AUDIO = "truncated_audio"
    NO_SAMPLES = "no_samples"
    TOO_LONG = "too_long"


@dataclass(frozen=True)
class Reject:
    """One row left out.

    Attributes:
        source: the table it stood in, with its row number.
        split: its split, or None where unknown.
        language: its language, or None where unknown.
        id: its id, or the audio's path where it has none.
        text: its transcript as far as it could be read.
        reason: why, one of `Reason`.
        detail: the measured value behind the reason.
    """

    source: str
    split: str | None
    language: str | None
    id: str
    text: str
    reason: Reason
    detail: str


SCHEMA = pa.schema([(name, pa.string()) for name in Reject.__dataclass_fields__])
_BATCH = 10_000


def dump(reject: Reject) -> str:
    """One line of JSON."""
    return json.dumps(asdict(reject))


def load(line: str) -> Reject:
    """What `dump` wrote."""
    fields = json.loads(line)
    return Reject(**{**fields, "reason": Reason(fields["reason"])})


def write_rejects(path: Path, rejects: Iterable[Reject]) -> None:
    """Write `rejected.parquet`, in place only when whole."""
    partial = path.with_name(f".{path.name}.partial")
    with pq.ParquetWriter(partial, SCHEMA) as writer:
        for batch in _batches(iter(rejects)):
            writer.write_table(pa.Table.from_pylist([asdict(reject) for reject in batch], schema=SCHEMA))
    partial.replace(path)


def _batches(rejects: Iterator[Reject]) -> Iterator[list[Reject]]:
    while batch := list(islice(rejects, _BATCH)):
        yield batch
