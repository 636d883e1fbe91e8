"""The rows that `raywce prepare` read and rejected, if its folder can be reached from here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from raywce.data.prepare.summary import GroupSummary
from raywce.errors import one_line
from raywce.runs.folder import RunFolder
from raywce.storage.prepared_folder import PREPARED, REJECTED

_ROWS = 5  # of each reason


@dataclass(frozen=True)
class RejectedRow:
    """A rejected row."""

    split: str | None
    language: str | None
    id: str
    text: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Corpus:
    """The rows that were read and rejected.

    Attributes:
        folder: of the prepared speech.
        rejected: the first rows of each reason.
        why_not: why the counts are missing, if they are.
    """

    folder: str
    rows: int
    utterances: int
    parts: list[GroupSummary]
    rejected: list[RejectedRow]
    why_not: str | None


def corpus(folder: str) -> Corpus:
    """Return counts and reasons by split and language, and some of the rows."""
    prepared = RunFolder.at(folder)
    try:
        if not prepared.has(PREPARED):
            return _unknown(folder, f"there is no {PREPARED}, or the folder is not reachable from here")
        found = json.loads(prepared.read_text(PREPARED))
        rejected = prepared.read_table(REJECTED).to_pylist() if prepared.has(REJECTED) else []
        parts = [GroupSummary(**group) for group in found["groups"]]
        return Corpus(folder, found["rows"], found["utterances"], parts, _some(rejected), None)
    except (OSError, pa.ArrowInvalid, ValueError, KeyError, TypeError) as error:
        return _unknown(folder, one_line(f"it can't be read: {error}"))


def _unknown(folder: str, why: str) -> Corpus:
    return Corpus(folder, 0, 0, [], [], why)


def _some(rows: Sequence[Mapping[str, str]]) -> list[RejectedRow]:
    of_reason: dict[str, list[RejectedRow]] = {}
    for row in rows:
        own = of_reason.setdefault(row["reason"], [])
        if len(own) < _ROWS:
            own.append(RejectedRow(**{name: row[name] for name in RejectedRow.__dataclass_fields__}))
    return [row for of in of_reason.values() for row in of]
