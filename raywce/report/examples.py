"""Utterances on which the chosen model and the baseline differ most, aligned with the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jiwer
import pyarrow as pa

MOST = 8  # of each list
Row = Mapping[str, Any]
"""A row of a table of utterances."""
Kind = Literal["hit", "substitution", "deletion", "insertion"]


@dataclass(frozen=True)
class Word:
    """A word of a hypothesis, or the place of a missing one."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Column:
    """A word of the reference, or a gap between two (None), above the output of the two models."""

    reference: str | None
    baseline: list[Word]
    chosen: list[Word]


@dataclass(frozen=True)
class Example:
    """An utterance on which the two models differ.

    Attributes:
        errors: word errors of the baseline and of the chosen model.
    """

    id: str
    language: str
    errors: tuple[int, int]
    reference: str
    baseline: str
    chosen: str
    columns: list[Column]


@dataclass(frozen=True)
class Examples:
    """Utterances of dev with the largest gains and losses.

    Attributes:
        compared: the two trainings; empty where there are none to compare.
        better, worse, same: utterances with fewer, more and as many word errors.
        why_not: why there are no examples, if there are none.
    """

    compared: list[str]
    better: int
    worse: int
    same: int
    gains: list[Example]
    losses: list[Example]
    why_not: str | None


def examples_of(baseline: pa.Table, chosen: pa.Table, compared: Sequence[str], metric: str) -> Examples:
    """Return the largest gains and losses in word errors.

    Args:
        baseline: its decoded utterances (`raywce.evaluation.utterances.SCHEMA`).
        chosen: the same utterances, decoded by the chosen model.
        compared: the names of the two trainings.
        metric: `wer_normalized` or `wer_raw`, whose texts and counts are used.
    """
    kind = metric.removeprefix("wer_")
    own = {row["id"]: row for row in chosen.to_pylist()}
    pairs = [(row, own[row["id"]]) for row in baseline.to_pylist() if row["id"] in own]
    changes = [(_errors(one, kind) - _errors(row, kind), row["id"], row, one) for row, one in pairs]
    changes.sort(key=lambda change: change[:2])
    gains = [change for change in changes if change[0] < 0]
    losses = [change for change in reversed(changes) if change[0] > 0]
    return Examples(
        compared=list(compared),
        better=len(gains),
        worse=len(losses),
        same=len(changes) - len(gains) - len(losses),
        gains=[_example(row, own, kind) for _, _, row, own in gains[:MOST]],
        losses=[_example(row, own, kind) for _, _, row, own in losses[:MOST]],
        why_not=None,
    )


def no_examples(why: str) -> Examples:
    """Return no examples, with the reason."""
    return Examples([], 0, 0, 0, [], [], why)


def aligned(reference: str, baseline: str, chosen: str) -> list[Column]:
    """Return each word of the reference with the words of both models, and the insertions in between."""
    words = reference.split()
    under = [_alignment(reference, text) for text in (baseline, chosen)]
    columns = []
    for index in range(len(words) + 1):
        gap = [inserted.get(index, []) for _, inserted in under]
        if any(gap):
            columns.append(Column(None, *gap))
        if index < len(words):
            columns.append(Column(words[index], *([made[index]] for made, _ in under)))
    return columns


def _alignment(reference: str, hypothesis: str) -> tuple[list[Word], dict[int, list[Word]]]:
    """Return the words that a hypothesis has for each word of the reference, and the insertions before each."""
    output = jiwer.process_words(reference, hypothesis)
    spoken, made, inserted = hypothesis.split(), list[Word](), dict[int, list[Word]]()
    for chunk in output.alignments[0]:
        texts = spoken[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "insert":
            inserted.setdefault(chunk.ref_start_idx, []).extend(Word("insertion", text) for text in texts)
        elif chunk.type == "delete":
            missing = reference.split()[chunk.ref_start_idx : chunk.ref_end_idx]
            made += [Word("deletion", text) for text in missing]
        else:
            made += [Word("hit" if chunk.type == "equal" else "substitution", text) for text in texts]
    return made, inserted


def _errors(row: Row, kind: str) -> int:
    return int(sum(row[f"words_{kind}_{edit}"] for edit in ("substitutions", "deletions", "insertions")))


def _example(row: Row, own: Row, kind: str) -> Example:
    suffix = "_normalized" if kind == "normalized" else ""
    texts = [
        " ".join(str(one).split())
        for one in (row[f"reference{suffix}"], row[f"hypothesis{suffix}"], own[f"hypothesis{suffix}"])
    ]
    return Example(
        id=row["id"],
        language=row["language"],
        errors=(_errors(row, kind), _errors(own, kind)),
        reference=texts[0],
        baseline=texts[1],
        chosen=texts[2],
        columns=aligned(*texts),
    )
