"""What `prepare` did, counted from its own output: per split and language, and the overlap between splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from raywce.data.prepare.overlap import shared
from raywce.data.prepare.plan import Group
from raywce.data.prepare.rejects import Reject
from raywce.data.prepare.text import sentence_key
from raywce.data.schema import SAMPLE_RATE, SPLITS

UNKNOWN = "unknown"  # in place of a split or language that a rejected row doesn't tell


@dataclass(frozen=True)
class Outcome:
    """What was written of one group: kept utterances, their samples at 16 kHz, rows that the cap left out."""

    kept: int = 0
    samples: int = 0
    capped: int = 0


@dataclass(frozen=True)
class GroupSummary:
    """One line of the table: the rows of a split and language, and what became of them.

    `rows` is `utterances` plus all `rejected` plus `capped`; `speakers` counts known ones.
    """

    split: str
    language: str
    rows: int
    utterances: int
    hours: float
    speakers: int
    rejected: dict[str, int]
    capped: int


@dataclass(frozen=True)
class Overlap:
    """How many speakers and sentences each two splits of a language share (`{"dev+train": 3}`)."""

    language: str
    speakers: dict[str, int]
    sentences: dict[str, int]


@dataclass(frozen=True)
class Prepared:
    """The whole result; `rows` read are `utterances` + `rejected` + `capped`."""

    rows: int
    utterances: int
    rejected: int
    capped: int
    mended_quotes: int
    groups: tuple[GroupSummary, ...]
    overlap: tuple[Overlap, ...]
    settings: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def summarise(
    out: Path,
    outcomes: dict[Group, Outcome],
    rejects: Iterable[Reject],
    rows: int,
    mended_quotes: int,
    settings: dict[str, Any],
) -> Prepared:
    """Count what stands in `out`, and check that every row read is kept, rejected or capped.

    Raises:
        RuntimeError: the counts don't add up; nothing may be lost in silence.
    """
    reasons: dict[Group, Counter[str]] = defaultdict(Counter)
    for reject in rejects:
        reasons[Group(reject.split or UNKNOWN, reject.language or UNKNOWN)][reject.reason.value] += 1
    groups = [
        _group_summary(out, group, outcomes.get(group, Outcome()), reasons[group])
        for group in sorted({*outcomes, *reasons}, key=_order)
    ]
    rejected = sum(sum(counter.values()) for counter in reasons.values())
    kept, capped = (sum(getattr(o, name) for o in outcomes.values()) for name in ("kept", "capped"))
    if kept + rejected + capped != rows:
        raise RuntimeError(f"{rows} rows were read, but {kept} kept + {rejected} rejected + {capped} capped")
    overlap = tuple(_overlap(out, language) for language in sorted({group.language for group in outcomes}))
    return Prepared(rows, kept, rejected, capped, mended_quotes, tuple(groups), overlap, settings)


def _order(group: Group) -> tuple[str, int]:
    return group.language, SPLITS.index(group.split) if group.split in SPLITS else len(SPLITS)


def _group_summary(out: Path, group: Group, outcome: Outcome, reasons: Counter[str]) -> GroupSummary:
    rows = outcome.kept + outcome.capped + reasons.total()
    hours = outcome.samples / SAMPLE_RATE / 3600
    speakers = len(set(_values(out, group, "speaker")))
    rejected = dict(sorted(reasons.items()))
    return GroupSummary(group.split, group.language, rows, outcome.kept, hours, speakers, rejected, outcome.capped)


def _overlap(out: Path, language: str) -> Overlap:
    groups = [Group(split, language) for split in SPLITS]
    speakers = {group.split: _values(out, group, "speaker") for group in groups}
    sentences = {group.split: map(sentence_key, _values(out, group, "text")) for group in groups}
    return Overlap(language, shared(speakers), shared(sentences))


def _values(out: Path, group: Group, column: str) -> Iterator[str]:
    """A column of a group's files without its nulls; audio is not read."""
    for file in sorted((out / group.split / group.language).glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(columns=[column]):
            yield from (value for value in batch.column(0).to_pylist() if value is not None)
