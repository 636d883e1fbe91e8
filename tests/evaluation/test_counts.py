from __future__ import annotations

import math
import random
from dataclasses import astuple

import jiwer
import pytest

from raywce.evaluation.counts import EditCounts, count_characters, count_words


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "a b c", EditCounts(3, 0, 0, 0)),
        ("a b c", "a x c", EditCounts(2, 1, 0, 0)),
        ("a b c", "a c", EditCounts(2, 0, 1, 0)),
        ("a b c", "a b b c", EditCounts(3, 0, 0, 1)),
        ("a b", "", EditCounts(0, 0, 2, 0)),
        ("", "a b", EditCounts(0, 0, 0, 2)),
        ("", "", EditCounts(0, 0, 0, 0)),
        ("  \t", " a\n", EditCounts(0, 0, 0, 1)),
        ("a\tb\nc  d", "a b c d", EditCounts(4, 0, 0, 0)),
        ("avó", "avo", EditCounts(0, 1, 0, 0)),
        ("si", "si " * 50, EditCounts(1, 0, 0, 49)),  # a runaway repetition
    ],
)
def test_count_words(reference: str, hypothesis: str, expected: EditCounts) -> None:
    assert count_words(reference, hypothesis) == expected


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("avó", "avo", EditCounts(2, 1, 0, 0)),
        ("a b", "ab", EditCounts(2, 0, 1, 0)),
        ("a  b\n", " a b", EditCounts(3, 0, 0, 0)),
        ("", "abc", EditCounts(0, 0, 0, 3)),
        ("abc", "", EditCounts(0, 0, 3, 0)),
        ("", "", EditCounts()),
    ],
)
def test_count_characters(reference: str, hypothesis: str, expected: EditCounts) -> None:
    assert count_characters(reference, hypothesis) == expected


def _edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein's, written out: the independent truth."""
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, got in enumerate(hypothesis, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (expected != got))
    return row[-1]


def test_random_texts_have_the_edit_distance_and_both_lengths() -> None:
    draw = random.Random(0)
    for _ in range(200):
        reference, hypothesis = ([draw.choice("abcd") for _ in range(draw.randrange(9))] for _ in range(2))
        counts = count_words(" ".join(reference), " ".join(hypothesis))
        edits = counts.substitutions + counts.deletions + counts.insertions
        assert edits == _edit_distance(reference, hypothesis)
        assert counts.reference_length == len(reference)
        assert counts.hits + counts.substitutions + counts.insertions == len(hypothesis)


def test_sum_of_counts_is_the_corpus_rate_and_no_mean() -> None:
    references, hypotheses = ["a b c d e f g h", "x"], ["a b c d e f g h", "y z"]
    counts = [count_words(*pair) for pair in zip(references, hypotheses, strict=True)]
    total = EditCounts(*map(sum, zip(*map(astuple, counts), strict=True)))
    assert total.rate == pytest.approx(jiwer.wer(references, hypotheses)) == pytest.approx(2 / 9)
    assert total.rate != pytest.approx(sum(each.rate for each in counts) / 2)
    assert total.insertion_rate == pytest.approx(1 / 9)


def test_rates_of_an_empty_reference_are_undefined_but_its_insertions_count() -> None:
    silence = count_words("", "thank you")
    assert math.isnan(silence.rate)
    assert math.isnan(silence.insertion_rate)
    assert silence.insertions == 2
