"""The plan of all rows, and its writing as shards: whole groups, then capped ones in rounds up to their number."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from raywce.data.prepare.files import audio_key
from raywce.data.prepare.rows import Row
from raywce.data.prepare.shards import Shard, ShardOptions, Workers
from raywce.data.prepare.summary import Group, Outcome, Reason, Reject
from raywce.errors import fail
from raywce.storage.prepared_folder import WORK

ROWS = 256  # of a shard; some 20 MB
Progress = Callable[[str, int, int], None]  # what is done, how many rows of it, of how many (0: not known yet)
_TABLES = """
CREATE TABLE rows (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, split TEXT, language TEXT, rank INTEGER, row TEXT);
CREATE INDEX by_group ON rows (split, language, rank);
CREATE TABLE audio (key INTEGER PRIMARY KEY);
CREATE TABLE utterances (key INTEGER PRIMARY KEY, source TEXT);
CREATE TABLE rejects (seq INTEGER PRIMARY KEY, reject TEXT);
"""


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

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def add(self, item: Row | Reject, prefix: str | None = None) -> None:
        """Take one row as read.

        Args:
            item: the row. The second of an id in a table is rejected, and so is an audio file that another table has.
            prefix: goes before an id that another table has; None where an id names a clip in every table.
        """
        if isinstance(item, Row):
            item = self._added(item, prefix)
        if isinstance(item, Reject):
            self._database.execute("INSERT INTO rejects VALUES (?, ?)", (self.rows_read, item.dump()))
        self.rows_read += 1

    def _added(self, row: Row, prefix: str | None) -> Row | Reject:
        """Put a row into the plan and return it, or the reject in its place."""
        key = None if row.index is not None else _digest(f"{audio_key(row.path)}\0{row.offset}")
        same = self._database.execute("SELECT source FROM utterances WHERE key = ?", (key,)).fetchone()
        if same and _table(same[0]) != _table(row.source):
            return row.reject(Reason.REPEATED_AUDIO, f"first in {same[0]}")
        first = self._insert(row)
        if first and prefix and _table(first.source) != _table(row.source):
            row = replace(row, id=f"{prefix}/{row.id}")
            first = self._insert(row)
        if first:
            return row.reject(Reason.REPEATED_ID, f"first in {first.source}")
        if key is not None:
            self._database.execute("INSERT OR IGNORE INTO utterances VALUES (?, ?)", (key, row.source))
        return row

    def _insert(self, row: Row) -> Row | None:
        """Put a row into the plan, or return the one that has its id."""
        values = (self.rows_read, row.id, row.split, row.language, self._rank(row.id), row.dump())
        try:
            self._database.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", values)
        except sqlite3.IntegrityError:
            (line,) = self._database.execute("SELECT row FROM rows WHERE id = ?", (row.id,)).fetchone()
            return Row.load(line)
        return None

    def add_audio(self, path: str) -> None:
        """Remember that a row names an audio file."""
        self._database.execute("INSERT OR IGNORE INTO audio VALUES (?)", (_digest(audio_key(path)),))

    def names_audio(self, path: str) -> bool:
        """Return whether a row names an audio file."""
        query = "SELECT 1 FROM audio WHERE key = ?"
        return self._database.execute(query, (_digest(audio_key(path)),)).fetchone() is not None

    def sizes(self) -> dict[Group, int]:
        """Return the number of rows of each group."""
        query = "SELECT split, language, COUNT(*) FROM rows GROUP BY split, language ORDER BY split, language"
        return {Group(split, language): count for split, language, count in self._database.execute(query)}

    def shards(self, group: Group, size: int) -> Iterator[list[Row]]:
        """Yield all rows of a group in the order they were read, `size` at a time."""
        query = "SELECT row FROM rows WHERE split = ? AND language = ? ORDER BY seq"
        return self._chunks(query, (group.split, group.language), size)

    def drawn(self, group: Group, start: int, count: int, size: int) -> Iterator[list[Row]]:
        """Yield the rows `start` to `start + count` of the group's seeded random order; among themselves as read."""
        drawn = "SELECT seq, row FROM rows WHERE split = ? AND language = ? ORDER BY rank, seq LIMIT ? OFFSET ?"
        values = (group.split, group.language, count, start)
        return self._chunks(f"SELECT row FROM ({drawn}) ORDER BY seq", values, size)

    def rejects(self) -> Iterator[Reject]:
        """Yield what was rejected before any audio was read, in the order read."""
        for (line,) in self._database.execute("SELECT reject FROM rejects ORDER BY seq"):
            yield Reject.load(line)

    def _chunks(self, query: str, values: tuple[str | int, ...], size: int) -> Iterator[list[Row]]:
        cursor = self._database.execute(query, values)
        while lines := cursor.fetchmany(size):
            yield [Row.load(line) for (line,) in lines]

    def _rank(self, identifier: str) -> int:
        return _digest(f"{self._seed}\0{identifier}")


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)


def _table(source: str) -> str:
    """Return the table of a row's source."""
    return source.rpartition(":")[0]


class GroupWriter:
    """Writer of a plan: its choice of rows for each shard does not depend on the number of workers.

    Args:
        out: the output folder.
        plan: the rows.
        cap: at most so many train utterances of each language; None: all.
        cap_to: the language whose kept train utterances are the cap of all others, in place of a number.
        options: what shards depend on beside their rows.
        progress: called after each shard.
    """

    def __init__(
        self,
        out: Path,
        plan: Plan,
        cap: int | None,
        cap_to: str | None,
        options: ShardOptions,
        progress: Progress,
    ) -> None:
        self._out, self._plan, self._options, self._progress = out, plan, options, progress
        self._cap, self._cap_to = cap, cap_to
        self._sizes = plan.sizes()
        self._outcomes = dict.fromkeys(self._sizes, Outcome())
        self._taken = dict.fromkeys(self._sizes, 0)  # rows of a capped group tried so far
        self._shards = dict.fromkeys(self._sizes, 0)
        self._rows_done = 0
        self.records: set[Path] = set()

    def write_all(self, workers: Workers) -> dict[Group, Outcome]:
        """Write everything and return the outcome of each group."""
        capped = self._capped_groups()
        whole = [group for group in self._sizes if group not in capped]
        self._write(
            workers, (shard for group in whole for shard in self._shards_of(group, self._plan.shards(group, ROWS)))
        )
        limit = self._limit() if capped else 0
        while short := [group for group in capped if self._is_short(group, limit)]:
            self._write(workers, (shard for group in short for shard in self._round(group, limit)))
        for group in capped:
            left = self._sizes[group] - self._taken[group]
            self._outcomes[group] = replace(self._outcomes[group], capped=left)
        return self._outcomes

    def _capped_groups(self) -> list[Group]:
        if self._cap is None and self._cap_to is None:
            return []
        train = [group for group in self._sizes if group.split == "train"]
        if self._cap_to and Group("train", self._cap_to) not in train:
            there = ", ".join(group.language for group in train) or "none"
            fail("--cap-to", "must be a language with train rows", self._cap_to, f"There are: {there}.")
        return [group for group in train if group.language != self._cap_to]

    def _limit(self) -> int:
        """Return the cap as a number; that of a language is what was kept of it."""
        if self._cap_to is None:
            return self._cap or 0
        kept = self._outcomes[Group("train", self._cap_to)].kept
        if kept == 0:
            fail("--cap-to", "must be a language of which a train row can be kept", self._cap_to)
        return kept

    def _is_short(self, group: Group, limit: int) -> bool:
        return self._outcomes[group].kept < limit and self._taken[group] < self._sizes[group]

    def _round(self, group: Group, limit: int) -> Iterator[Shard]:
        """Yield shards of the next rows in random order, as many as utterances are still wanted: no cap is passed."""
        start, wanted = self._taken[group], limit - self._outcomes[group].kept
        count = min(wanted, self._sizes[group] - start)
        self._taken[group] += count
        yield from self._shards_of(group, self._plan.drawn(group, start, count, ROWS))

    def _shards_of(self, group: Group, parts: Iterable[list[Row]]) -> Iterator[Shard]:
        """Yield the shards of a group's next rows, numbered on."""
        for rows in parts:
            place = Path(group.split, group.language, f"{self._shards[group]:05d}")
            self._shards[group] += 1
            record = self._out / WORK / place.with_suffix(".json")
            yield Shard(self._out / place.with_suffix(".parquet"), record, rows, self._options)

    def _write(self, workers: Workers, shards: Iterator[Shard]) -> None:
        for shard, result in workers.write(shards):
            group = Group(shard.rows[0].split, shard.rows[0].language)
            before = self._outcomes[group]
            kept, samples = before.kept + result.kept, before.samples + result.samples
            remarks = Counter(before.remarks) + Counter(result.remarks)
            self._outcomes[group] = replace(before, kept=kept, samples=samples, remarks=remarks)
            self.records.add(shard.record)
            self._rows_done += len(shard.rows)
            self._progress("rows done", self._rows_done, sum(self._sizes.values()))
