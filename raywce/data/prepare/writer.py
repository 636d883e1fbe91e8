"""Writes the groups of a plan as shards: whole ones, then capped ones in rounds until each has its number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from raywce.data.prepare.output import WORK
from raywce.data.prepare.plan import Group, Plan
from raywce.data.prepare.rows import Row
from raywce.data.prepare.shards import ROWS, Shard, ShardOptions, ShardResult
from raywce.data.prepare.summary import Outcome
from raywce.data.prepare.workers import Workers
from raywce.errors import fail

Progress = Callable[[str, int, int], None]  # what is done, how many rows of it, of how many (0: not known yet)


@dataclass(frozen=True)
class Cap:
    """At most so many train utterances of each language: a number, or as many as are kept of `language`."""

    utterances: int = 0
    language: str | None = None


class GroupWriter:
    """Decides which rows go into which shard; nothing of it depends on the number of workers.

    Args:
        out: the output folder.
        plan: the rows.
        cap: limits the train groups; None takes all.
        options: what shards depend on beside their rows.
        progress: told after each shard.
    """

    def __init__(self, out: Path, plan: Plan, cap: Cap | None, options: ShardOptions, progress: Progress) -> None:
        self._out, self._plan, self._cap, self._options, self._progress = out, plan, cap, options, progress
        self._sizes = plan.sizes()
        self._outcomes = dict.fromkeys(self._sizes, Outcome())
        self._taken = dict.fromkeys(self._sizes, 0)  # rows of a capped group tried so far
        self._shards = dict.fromkeys(self._sizes, 0)
        self._rows_done = 0
        self.records: set[Path] = set()

    def write_all(self, workers: Workers) -> dict[Group, Outcome]:
        """Write everything; the outcome of each group."""
        capped = self._capped_groups()
        whole = [group for group in self._sizes if group not in capped]
        self._write(workers, chain.from_iterable(map(self._whole, whole)))
        limit = self._limit() if capped else 0
        while short := [group for group in capped if self._is_short(group, limit)]:
            self._write(workers, chain.from_iterable(self._round(group, limit) for group in short))
        for group in capped:
            left = self._sizes[group] - self._taken[group]
            self._outcomes[group] = replace(self._outcomes[group], capped=left)
        return self._outcomes

    def _capped_groups(self) -> list[Group]:
        if self._cap is None:
            return []
        train = [group for group in self._sizes if group.split == "train"]
        reference = self._cap.language
        if reference and Group("train", reference) not in train:
            there = ", ".join(group.language for group in train) or "none"
            fail("--cap-to", "must be a language with train rows", reference, f"There are: {there}.")
        return [group for group in train if group.language != reference]

    def _limit(self) -> int:
        """The cap as a number; that of a language is what was kept of it."""
        if self._cap is None or self._cap.language is None:
            return self._cap.utterances if self._cap else 0
        kept = self._outcomes[Group("train", self._cap.language)].kept
        if kept == 0:
            fail("--cap-to", "must be a language of which a train row can be kept", self._cap.language)
        return kept

    def _is_short(self, group: Group, limit: int) -> bool:
        return self._outcomes[group].kept < limit and self._taken[group] < self._sizes[group]

    def _whole(self, group: Group) -> Iterator[Shard]:
        for rows in self._plan.shards(group, ROWS):
            yield self._shard(group, rows)

    def _round(self, group: Group, limit: int) -> Iterator[Shard]:
        """As many of the next rows in random order as utterances are still wanted: the cap is never passed."""
        start, wanted = self._taken[group], limit - self._outcomes[group].kept
        count = min(wanted, self._sizes[group] - start)
        self._taken[group] += count
        for rows in self._plan.drawn(group, start, count, ROWS):
            yield self._shard(group, rows)

    def _shard(self, group: Group, rows: list[Row]) -> Shard:
        place = Path(group.split, group.language)
        name = f"{self._shards[group]:05d}"
        self._shards[group] += 1
        file = self._out / place / f"{name}.parquet"
        return Shard(file, self._out / WORK / place / f"{name}.json", rows, self._options)

    def _write(self, workers: Workers, shards: Iterator[Shard]) -> None:
        for shard, result in workers.write(shards):
            self._count(shard, result)

    def _count(self, shard: Shard, result: ShardResult) -> None:
        group = Group(shard.rows[0].split, shard.rows[0].language)
        before = self._outcomes[group]
        kept, samples = before.kept + result.kept, before.samples + result.samples
        self._outcomes[group] = replace(before, kept=kept, samples=samples)
        self.records.add(shard.record)
        self._rows_done += len(shard.rows)
        self._progress("rows done", self._rows_done, sum(self._sizes.values()))
