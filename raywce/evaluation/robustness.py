"""What a test set of sentences does not show: what a model says to nothing, and to minutes in one piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from raywce.evaluation.counts import EditCounts
from raywce.evaluation.utterances import COUNT_NAMES, UtteranceResult
from raywce.evaluation.writing import separates_words

NOTHING, SENTENCE, TRANSFORMERS = "nothing", "sentence", "transformers"  # kinds of rows
_BEHIND = ": "  # a row's kind and its id


@dataclass(frozen=True)
class Robustness:
    """Figures of one language, by its normalised words; where those have no spaces between them, by its characters.

    Attributes:
        clips: of nothing: silence and noise of some lengths.
        clips_with_text: those that the model said something to.
        words: that it said to them, or characters.
        pieces: of speech, of a minute or more.
        seconds: that they last together.
        sentences: edits of their utterances, decoded one by one.
        long: edits of them, each decoded in one piece, by the name of what decoded it.
    """

    clips: int
    clips_with_text: int
    words: int
    pieces: int
    seconds: float
    sentences: EditCounts
    long: Mapping[str, EditCounts]


def named(kind: str, rows: Sequence[UtteranceResult]) -> list[UtteranceResult]:
    """Return rows whose ids begin with their kind."""
    return [replace(row, id=f"{kind}{_BEHIND}{row.id}") for row in rows]


def robustness(table: pa.Table) -> dict[str, Robustness]:
    """Return the figures of each language in a table of `decode_hard_cases`' rows."""
    rows = [(*row["id"].split(_BEHIND, 1), row) for row in table.to_pylist()]
    languages = dict.fromkeys(row["language"] for _, _, row in rows)
    return {
        language: _of_language([one for one in rows if one[2]["language"] == language], unit(language))
        for language in languages
    }


def unit(language: str) -> str:
    """Return what its errors are counted in: a text in one piece has no phrases to count, as its sentences have."""
    return "words" if separates_words(language) else "characters"


def said_to_nothing(table: pa.Table) -> list[str]:
    """Return what was said to nothing, each text once."""
    rows = [row for row in table.to_pylist() if row["id"].startswith(f"{NOTHING}{_BEHIND}")]
    return sorted({row["hypothesis"] for row in rows if row["hypothesis_normalized"]})


def _of_language(rows: Sequence[tuple[str, str, Mapping[str, Any]]], counted: str) -> Robustness:
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for kind, _, row in rows:
        by_kind.setdefault(kind, []).append(row)
    nothing, sentences = by_kind.pop(NOTHING, []), by_kind.pop(SENTENCE, [])
    of_pieces = by_kind.get(TRANSFORMERS, [])
    return Robustness(
        clips=len(nothing),
        clips_with_text=sum(bool(row["hypothesis_normalized"]) for row in nothing),
        words=_edits(nothing, counted).insertions,
        pieces=len(of_pieces),
        seconds=sum(row["duration"] for row in of_pieces),
        sentences=_edits(sentences, counted),
        long={kind: _edits(own, counted) for kind, own in by_kind.items()},
    )


def _edits(rows: Sequence[Mapping[str, Any]], counted: str) -> EditCounts:
    return EditCounts(**{name: sum(row[f"{counted}_normalized_{name}"] for row in rows) for name in COUNT_NAMES})
