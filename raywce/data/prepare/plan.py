"""The rows to prepare, on disk (SQLite): ids are unique, groups can be cut at random, memory stays small."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType

from raywce.data.prepare.rejects import Reason, Reject, dump, load
from raywce.data.prepare.rows import Row

_TABLES = """
CREATE TABLE rows (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, split TEXT, language TEXT, rank INTEGER, row TEXT);
CREATE INDEX by_group ON rows (split, language, rank);
CREATE TABLE rejects (seq INTEGER PRIMARY KEY, reject TEXT);
"""


@dataclass(frozen=True, order=True)
class Group:
    """The rows of one split and language; they share a folder of the output."""

    split: str
    language: str


class Plan:
    """Rows by group, and those rejected before any audio is read.

    Args:
        path: the SQLite file; an older one is replaced.
        seed: fixes the random order in which a capped group is taken.
    """

    def __init__(self, path: Path, seed: int) -> None:
        path.unlink(missing_ok=True)
        self._database = sqlite3.connect(path)
        self._database.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _TABLES)
        self._seed = seed
        self.rows_read = 0

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._database.close()

    def add(self, item: Row | Reject) -> None:
        """Take one row as read; the second of an id is rejected."""
        if isinstance(item, Row):
            values = (self.rows_read, item.id, item.split, item.language, self._rank(item.id), item.dump())
            try:
                self._database.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", values)
            except sqlite3.IntegrityError:
                item = item.reject(Reason.REPEATED_ID, f"first in {self._source(item.id)}")
        if isinstance(item, Reject):
            self._database.execute("INSERT INTO rejects VALUES (?, ?)", (self.rows_read, dump(item)))
        self.rows_read += 1

    def sizes(self) -> dict[Group, int]:
        """The number of rows of each group."""
        query = "SELECT split, language, COUNT(*) FROM rows GROUP BY split, language ORDER BY split, language"
        return {Group(split, language): count for split, language, count in self._database.execute(query)}

    def shards(self, group: Group, size: int) -> Iterator[list[Row]]:
        """All rows of a group in the order they were read, `size` at a time."""
        query = "SELECT row FROM rows WHERE split = ? AND language = ? ORDER BY seq"
        return self._chunks(query, (group.split, group.language), size)

    def drawn(self, group: Group, start: int, count: int, size: int) -> Iterator[list[Row]]:
        """The rows `start` to `start + count` of the group's seeded random order; among themselves as read."""
        drawn = "SELECT seq, row FROM rows WHERE split = ? AND language = ? ORDER BY rank, seq LIMIT ? OFFSET ?"
        values = (group.split, group.language, count, start)
        return self._chunks(f"SELECT row FROM ({drawn}) ORDER BY seq", values, size)

    def rejects(self) -> Iterator[Reject]:
        """What was rejected before any audio was read, in the order read."""
        for (line,) in self._database.execute("SELECT reject FROM rejects ORDER BY seq"):
            yield load(line)

    def _chunks(self, query: str, values: tuple[str | int, ...], size: int) -> Iterator[list[Row]]:
        cursor = self._database.execute(query, values)
        while lines := cursor.fetchmany(size):
            yield [Row.load(line) for (line,) in lines]

    def _source(self, identifier: str) -> str:
        (line,) = self._database.execute("SELECT row FROM rows WHERE id = ?", (identifier,)).fetchone()
        return Row.load(line).source

    def _rank(self, identifier: str) -> int:
        digest = blake2b(f"{self._seed}\0{identifier}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)
