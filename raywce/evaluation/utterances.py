"""The row kept for each decoded utterance: texts and counts, from which every figure is derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raywce.evaluation.counts import EditCounts, count_characters, count_words
from raywce.evaluation.normalizer import NORMALIZERS, versioned_name
from raywce.evaluation.writing import separates_words

COUNT_GROUPS = ("words_raw", "words_normalized", "characters_raw", "characters_normalized")
COUNT_NAMES = tuple(field.name for field in fields(EditCounts))

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("language_token", pa.string(), nullable=False),  # Whisper's code used: "es" for "ast"
        ("speaker", pa.string()),  # null where unknown
        pa.field("duration", pa.float32(), nullable=False),  # seconds
        pa.field("reference", pa.string(), nullable=False),
        pa.field("hypothesis", pa.string(), nullable=False),
        pa.field("reference_normalized", pa.string(), nullable=False),
        pa.field("hypothesis_normalized", pa.string(), nullable=False),
        pa.field("normalizer", pa.string(), nullable=False),  # with its version: "words/4"
        *(pa.field(f"{group}_{name}", pa.int32(), nullable=False) for group in COUNT_GROUPS for name in COUNT_NAMES),
        ("detected_language", pa.string()),  # null where not asked for
        pa.field("truncated", pa.bool_(), nullable=False),
        ("stopped", pa.bool_()),  # null in tables of before decoding could be stopped, joined with newer ones
        ("time_stamps_whole", pa.bool_()),  # null where not asked for
        ("time_stamps_end", pa.float32()),  # seconds; null where not asked for, or without any
    ]
)


@dataclass(frozen=True)
class UtteranceResult:
    """One decoded utterance.

    Attributes:
        language: the utterance's own language.
        language_token: Whisper's code of the token it was decoded with (another language's where it has none).
        duration: seconds.
        normalizer: name and version of the normaliser of the `_normalized` texts and counts.
        detected_language: Whisper's code of the likeliest language token; None where not asked for.
        truncated: decoding did not come to the end token.
        stopped: it was ended in a loop, before the bound on new tokens.
        time_stamps_whole: decoded with time stamps, each piece of text has both of its; None where not asked for.
        time_stamps_end: seconds of the last one; None without any.
    """

    id: str
    language: str
    language_token: str
    speaker: str | None
    duration: float
    reference: str
    hypothesis: str
    reference_normalized: str
    hypothesis_normalized: str
    normalizer: str
    words_raw: EditCounts
    words_normalized: EditCounts
    characters_raw: EditCounts
    characters_normalized: EditCounts
    detected_language: str | None
    truncated: bool
    stopped: bool = False
    time_stamps_whole: bool | None = None
    time_stamps_end: float | None = None

    def flat(self) -> dict[str, object]:
        """Return the row with a column for each count, such as `words_raw_hits`."""
        row = {field.name: getattr(self, field.name) for field in fields(self)}
        for group in COUNT_GROUPS:
            counts = row.pop(group)
            row |= {f"{group}_{name}": getattr(counts, name) for name in COUNT_NAMES}
        return row


def score(
    *,
    id: str,
    language: str,
    language_token: str,
    speaker: str | None,
    duration: float,
    reference: str,
    hypothesis: str,
    normalizer: str,
    detected_language: str | None,
    truncated: bool,
    stopped: bool = False,
) -> UtteranceResult:
    """Count the edits of one hypothesis, raw and under the named normaliser (a key of `NORMALIZERS`).

    Spaces of a language without spaces between its words are no characters of the normalised texts: a comma that one
    text lacks is a space there.
    """
    normalize, spaces = NORMALIZERS[normalizer], separates_words(language)
    reference_normalized, hypothesis_normalized = normalize(reference, language), normalize(hypothesis, language)
    return UtteranceResult(
        id=id,
        language=language,
        language_token=language_token,
        speaker=speaker,
        duration=duration,
        reference=reference,
        hypothesis=hypothesis,
        reference_normalized=reference_normalized,
        hypothesis_normalized=hypothesis_normalized,
        normalizer=versioned_name(normalizer),
        words_raw=count_words(reference, hypothesis),
        words_normalized=count_words(reference_normalized, hypothesis_normalized),
        characters_raw=count_characters(reference, hypothesis),
        characters_normalized=count_characters(reference_normalized, hypothesis_normalized, spaces),
        detected_language=detected_language,
        truncated=truncated,
        stopped=stopped,
    )


def to_table(rows: Sequence[UtteranceResult], **metadata: str) -> pa.Table:
    """Return a table of `SCHEMA`; its schema's metadata holds the normaliser's versioned name and what else is given.

    Raises:
        ValueError: the rows were scored with different normalisers, so their counts can't be added.
    """
    normalizers = sorted({row.normalizer for row in rows})
    if len(normalizers) > 1:
        raise ValueError(f"rows of one table must share a normaliser, but got {', '.join(normalizers)}")
    if normalizers:
        metadata = {"normalizer": normalizers[0], **metadata}
    return pa.Table.from_pylist([row.flat() for row in rows], schema=SCHEMA.with_metadata(metadata))


def reference_lengths(table: pa.Table, group: str) -> NDArray[np.int64]:
    """Return each utterance's words, or characters, of the reference; `group` is one of `COUNT_GROUPS`."""
    return _sum(table, group, ("hits", "substitutions", "deletions"))


def errors(table: pa.Table, group: str, capped: bool) -> NDArray[np.int64]:
    """Return each utterance's substitutions, deletions and insertions.

    Capped, they are at most the reference's length, and just that where decoding was stopped: wholly wrong.
    """
    found = _sum(table, group, ("substitutions", "deletions", "insertions"))
    if not capped:
        return found
    most = reference_lengths(table, group)
    return np.minimum(np.where(is_stopped(table), most, found), most)


def is_stopped(table: pa.Table) -> NDArray[np.bool_]:
    """Return which utterances' decoding was stopped in a loop; none in tables of before that could be."""
    known = "stopped" in table.column_names
    return pc.fill_null(table["stopped"], False).to_numpy() if known else np.zeros(table.num_rows, bool)


def _sum(table: pa.Table, group: str, names: Sequence[str]) -> NDArray[np.int64]:
    columns = [table[f"{group}_{name}"].to_numpy() for name in names]
    total: NDArray[np.int64] = np.sum(columns, axis=0, dtype=np.int64)
    return total
