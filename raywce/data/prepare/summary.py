"""Outcome of the rows: kept, capped or rejected with a reason; counts by split and language, and overlap of splits."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from hashlib import blake2b
from itertools import combinations, islice
from pathlib import Path

import pyarrow as pa

from raywce.data.prepare.languages import ReadLanguage, merged
from raywce.data.prepare.parquet_files import parquet_reader, parquet_writer
from raywce.data.prepare.passed_over import PassedOver, PassedOverFiles
from raywce.data.schema import SAMPLE_RATE, SPLITS
from raywce.storage.files import replaced

UNKNOWN = "unknown"  # in place of a split or language that a rejected row doesn't have
RESCALED = "rescaled"  # a remark on a kept utterance, as are Reason.SILENT and Reason.CLIPPED
_BATCH = 10_000  # rejects written at a time
_TEXTS = 100  # that no language could be read from, the most frequent


class Reason(StrEnum):
    """Reasons to leave a row out; each row has one, the first that was met."""

    MALFORMED_ROW = "malformed_row"
    NOT_UTF8 = "not_utf8"
    UNBALANCED_QUOTE = "unbalanced_quote"
    UNKNOWN_LANGUAGE = "unknown_language"
    UNKNOWN_SPLIT = "unknown_split"
    EMPTY_TRANSCRIPT = "empty_transcript"
    REPEATED_ID = "repeated_id"
    REPEATED_AUDIO = "repeated_audio"
    LABEL_LIMIT = "label_limit"
    MISSING_FILE = "missing_file"
    UNREADABLE_FILE = "unreadable_file"
    EMPTY_FILE = "empty_file"
    UNDECODABLE_AUDIO = "undecodable_audio"
    TRUNCATED_AUDIO = "truncated_audio"
    NO_SAMPLES = "no_samples"
    NOT_FINITE = "not_finite"
    UNKNOWN_SCALE = "unknown_scale"
    TOO_LONG = "too_long"
    SILENT = "silent"
    CLIPPED = "clipped"


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

    def dump(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def load(line: str) -> Reject:
        """Return what `dump` wrote."""
        fields = json.loads(line)
        return Reject(**{**fields, "reason": Reason(fields["reason"])})


REJECT_SCHEMA = pa.schema([(name, pa.string()) for name in Reject.__dataclass_fields__])


@dataclass(frozen=True, order=True)
class Group:
    """The rows of one split and language; they share a folder of the output."""

    split: str
    language: str


@dataclass(frozen=True)
class Outcome:
    """Outcome of one group: kept utterances, their samples at 16 kHz, remarks on them, rows that the cap left out."""

    kept: int = 0
    samples: int = 0
    capped: int = 0
    remarks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class GroupSummary:
    """One line of the table: the rows of a split and language, and what became of them.

    `rows` is `utterances` plus all `rejected` plus `capped`; `speakers` counts known ones; `remarks` counts kept
    utterances that are wholly silent, heavily clipped, or whose samples were divided to fit full scale.
    """

    split: str
    language: str
    rows: int
    utterances: int
    hours: float
    speakers: int
    rejected: dict[str, int]
    capped: int
    remarks: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Overlap:
    """Numbers of speakers, sentences and recordings that each two splits of a language share (`{"dev+train": 3}`)."""

    language: str
    speakers: dict[str, int]
    sentences: dict[str, int]
    recordings: dict[str, int]


@dataclass(frozen=True)
class Prepared:
    """The whole result; `rows` read are `utterances` + `rejected` + `capped`.

    Attributes:
        passed_over: files of the sources that nothing was read from.
        merged_languages: for languages that more than one variety was read as: rows by what tables or folders say.
        unread_languages: rows by what stands in a column of languages and is none; other evidence was taken for them.
        unread_splits: likewise of splits.
    """

    rows: int
    utterances: int
    rejected: int
    capped: int
    unbalanced_quotes: int
    groups: tuple[GroupSummary, ...]
    overlap: tuple[Overlap, ...]
    passed_over: tuple[PassedOver, ...]
    merged_languages: Mapping[str, Mapping[str, int]]
    unread_languages: Mapping[str, int]
    unread_splits: Mapping[str, int]
    settings: Mapping[str, object]


@dataclass
class Notes:
    """Notes taken while rows are read.

    Attributes:
        unbalanced_quotes: rows with an unbalanced quote that was taken as it is written.
        languages: rows of each language and text it was read from.
        unread_languages: rows of each text in a column of languages that is none.
        unread_splits: likewise of splits.
        passed_over: files that nothing was read from.
    """

    unbalanced_quotes: int = 0
    languages: Counter[ReadLanguage] = field(default_factory=Counter)
    unread_languages: Counter[str] = field(default_factory=Counter)
    unread_splits: Counter[str] = field(default_factory=Counter)
    passed_over: PassedOverFiles = field(default_factory=PassedOverFiles)


def summarise(
    out: Path,
    outcomes: dict[Group, Outcome],
    rejects: Iterable[Reject],
    rows: int,
    notes: Notes,
    settings: Mapping[str, object],
    recordings: Callable[[Group], Iterable[str]],
) -> Prepared:
    """Count what stands in `out`, and check that every row read is kept, rejected or capped.

    Args:
        out: the output folder, whole but for `prepared.json`.
        outcomes: by group.
        rejects: all of them.
        rows: read.
        notes: on tables and rows.
        settings: of the command.
        recordings: returns a digest of each recording of a group.

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
    overlap = tuple(_overlap(out, language, recordings) for language in sorted({group.language for group in outcomes}))
    return Prepared(
        rows=rows,
        utterances=kept,
        rejected=rejected,
        capped=capped,
        unbalanced_quotes=notes.unbalanced_quotes,
        groups=tuple(groups),
        overlap=overlap,
        passed_over=notes.passed_over.groups(),
        merged_languages=merged(notes.languages),
        unread_languages=dict(notes.unread_languages.most_common(_TEXTS)),
        unread_splits=dict(notes.unread_splits.most_common(_TEXTS)),
        settings=settings,
    )


def _order(group: Group) -> tuple[str, int]:
    return group.language, SPLITS.index(group.split) if group.split in SPLITS else len(SPLITS)


def _group_summary(out: Path, group: Group, outcome: Outcome, reasons: Counter[str]) -> GroupSummary:
    rows = outcome.kept + outcome.capped + reasons.total()
    hours = outcome.samples / SAMPLE_RATE / 3600
    speakers = len(set(_values(out, group, "speaker")))
    rejected = dict(sorted(reasons.items()))
    counts = (rows, outcome.kept, hours, speakers, rejected, outcome.capped, dict(sorted(outcome.remarks.items())))
    return GroupSummary(group.split, group.language, *counts)


def _overlap(out: Path, language: str, recordings: Callable[[Group], Iterable[str]]) -> Overlap:
    groups = [Group(split, language) for split in SPLITS]
    speakers = {group.split: _values(out, group, "speaker") for group in groups}
    sentences = {group.split: map(sentence_key, _values(out, group, "text")) for group in groups}
    audio = {group.split: recordings(group) for group in groups}
    return Overlap(language, shared(speakers), shared(sentences), shared(audio))


def _values(out: Path, group: Group, column: str) -> Iterator[str]:
    """Yield a column of a group's files without its nulls; audio is not read."""
    for file in sorted((out / group.split / group.language).glob("*.parquet")):
        with parquet_reader(file) as reader:
            for batch in reader.iter_batches(columns=[column]):
                yield from (value for value in batch.column(0).to_pylist() if value is not None)


def shared(values: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Count the distinct values that two splits share, for each pair of splits (`dev+test`).

    Values are held as 8-byte digests, so that memory stays small for a large corpus.
    """
    digests: dict[str, set[bytes]] = defaultdict(set)
    for split, entries in values.items():
        digests[split].update(blake2b(entry.encode(), digest_size=8).digest() for entry in entries)
    pairs = combinations(digests, 2)
    return {f"{one}+{other}": len(digests[one] & digests[other]) for one, other in pairs}


def sentence_key(text: str) -> str:
    """Return the form in which two transcripts count as one sentence: case folded, white space collapsed."""
    return " ".join(text.casefold().split())


def write_rejects(path: Path, rejects: Iterable[Reject]) -> None:
    """Replace `rejected.parquet` once all rejects are written."""
    remaining = iter(rejects)
    with replaced(path) as partial, parquet_writer(partial, REJECT_SCHEMA) as writer:
        while batch := list(islice(remaining, _BATCH)):
            writer.write_table(pa.Table.from_pylist([asdict(reject) for reject in batch], schema=REJECT_SCHEMA))
