"""Edits between a reference and a hypothesis, as counts; rates follow from them, or from their sums."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jiwer

from raywce.evaluation.writing import characters


@dataclass(frozen=True)
class EditCounts:
    """Counts of one alignment, or of many added up."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def reference_length(self) -> int:
        """Return the number of words (or characters) of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Return WER (or CER) as a fraction, above 1 where insertions abound; NaN where the reference is empty."""
        return self._per_reference(self.substitutions + self.deletions + self.insertions)

    @property
    def insertion_rate(self) -> float:
        """Return insertions as a fraction of the reference's length; NaN where the reference is empty."""
        return self._per_reference(self.insertions)

    def _per_reference(self, edits: int) -> float:
        return edits / self.reference_length if self.reference_length else math.nan


def count_words(reference: str, hypothesis: str) -> EditCounts:
    """Count the word edits that turn the reference into the hypothesis; an empty reference has insertions only."""
    return _counts(jiwer.process_words(characters(reference), characters(hypothesis)))


def count_characters(reference: str, hypothesis: str, spaces: bool = True) -> EditCounts:
    """Count the character edits.

    Args:
        reference: what was said.
        hypothesis: what was decoded.
        spaces: count each run of spaces as one character; else leave spaces out, as they separate no words.
    """
    return _counts(jiwer.process_characters(characters(reference, spaces), characters(hypothesis, spaces)))


def _counts(output: jiwer.WordOutput | jiwer.CharacterOutput) -> EditCounts:
    return EditCounts(output.hits, output.substitutions, output.deletions, output.insertions)
