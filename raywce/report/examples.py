"""Utterances on which the chosen model and the baseline differ most, aligned with the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jiwer
import pyarrow as pa

from raywce.evaluation.metric import Metric, Metrics

MOST = 8  # of each list
Row = Mapping[str, Any]
"""A row of a table of utterances."""
Kind = Literal["hit", "substitution", "deletion", "insertion"]


@dataclass(frozen=True)
class Word:
    """A word (or character) of a hypothesis, or the place of a missing one."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Column:
    """A word (or character) of the reference, or a gap between two (None), above the output of the two models."""

    reference: str | None
    baseline: list[Word]
    chosen: list[Word]


@dataclass(frozen=True)
class Example:
    """An utterance on which the two models differ.

    Attributes:
        errors: of the baseline and of the chosen model: words, or characters where the language's rate is a CER.
        counted: `word` or `character`, one of which each column holds.
    """

    id: str
    language: str
    errors: tuple[int, int]
    counted: str
    reference: str
    baseline: str
    chosen: str
    columns: list[Column]


@dataclass(frozen=True)
class Examples:
    """Utterances of dev with the largest gains and losses.

    Attributes:
        compared: the two trainings; empty where there are none to compare.
        better, worse, same: utterances with fewer, more and as many errors.
        why_not: why there are no examples, if there are none.
    """

    compared: list[str]
    better: int
    worse: int
    same: int
    gains: list[Example]
    losses: list[Example]
    why_not: str | None


def examples_of(baseline: pa.Table, chosen: pa.Table, compared: Sequence[str], metrics: Metrics) -> Examples:
    """Return the largest gains and losses in errors.

    Args:
        baseline: its decoded utterances (`raywce.evaluation.utterances.SCHEMA`).
        chosen: the same utterances, decoded by the chosen model.
        compared: the names of the two trainings.
        metrics: whose texts and counts are used.
    """
    own = {row["id"]: row for row in chosen.to_pylist()}
    pairs = [(row, own[row["id"]]) for row in baseline.to_pylist() if row["id"] in own]
    by_pair = [(row, one, metrics.of(row["language"])) for row, one in pairs]
    changes = [(_errors(one, by) - _errors(row, by), row["id"], row, one) for row, one, by in by_pair]
    changes.sort(key=lambda change: change[:2])
    gains = [change for change in changes if change[0] < 0]
    losses = [change for change in reversed(changes) if change[0] > 0]
    return Examples(
        compared=list(compared),
        better=len(gains),
        worse=len(losses),
        same=len(changes) - len(gains) - len(losses),
        gains=[_example(row, own, metrics) for _, _, row, own in gains[:MOST]],
        losses=[_example(row, own, metrics) for _, _, row, own in losses[:MOST]],
        why_not=None,
    )


def no_examples(why: str) -> Examples:
    """Return no examples, with the reason."""
    return Examples([], 0, 0, 0, [], [], why)


def aligned(words: Sequence[str], baseline: Sequence[str], chosen: Sequence[str]) -> list[Column]:
    """Return each word (or character) of the reference with those of both models, and the insertions in between."""
    under = [_alignment(words, hypothesis) for hypothesis in (baseline, chosen)]
    columns = []
    for index in range(len(words) + 1):
        gap = [inserted.get(index, []) for _, inserted in under]
        if any(gap):
            columns.append(Column(None, *gap))
        if index < len(words):
            columns.append(Column(words[index], *([made[index]] for made, _ in under)))
    return columns


def _alignment(words: Sequence[str], spoken: Sequence[str]) -> tuple[list[Word], dict[int, list[Word]]]:
    """Return what a hypothesis has for each word of the reference, and the insertions before each."""
    numbers = {word: str(number) for number, word in enumerate(dict.fromkeys((*words, *spoken)))}
    output = jiwer.process_words(*(" ".join(numbers[word] for word in of) for of in (words, spoken)))
    made, inserted = list[Word](), dict[int, list[Word]]()
    for chunk in output.alignments[0]:
        texts = spoken[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "insert":
            inserted.setdefault(chunk.ref_start_idx, []).extend(Word("insertion", text) for text in texts)
        elif chunk.type == "delete":
            missing = words[chunk.ref_start_idx : chunk.ref_end_idx]
            made += [Word("deletion", text) for text in missing]
        else:
            made += [Word("hit" if chunk.type == "equal" else "substitution", text) for text in texts]
    return made, inserted


def _errors(row: Row, metric: Metric) -> int:
    return int(sum(row[f"{metric.group}_{edit}"] for edit in ("substitutions", "deletions", "insertions")))


def _example(row: Row, own: Row, metrics: Metrics) -> Example:
    metric = metrics.of(row["language"])
    suffix = "_normalized" if metric.text == "normalized" else ""
    texts = [
        " ".join(str(one).split())
        for one in (row[f"reference{suffix}"], row[f"hypothesis{suffix}"], own[f"hypothesis{suffix}"])
    ]
    return Example(
        id=row["id"],
        language=row["language"],
        errors=(_errors(row, metric), _errors(own, metric)),
        counted=metric.counted.removesuffix("s"),
        reference=texts[0],
        baseline=texts[1],
        chosen=texts[2],
        columns=aligned(*(metric.pieces(text, row["language"]) for text in texts)),
    )
