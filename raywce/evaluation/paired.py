"""Errors of several models on the same utterances, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raywce.evaluation.metric import Metric
from raywce.evaluation.utterances import errors, reference_lengths


@dataclass(frozen=True)
class PairedErrors:
    """One language's utterances, ordered by id.

    Attributes:
        words: (utterances,) words, or characters, of the references.
        errors: (models, utterances), by the metric (`raywce.evaluation.utterances.errors`).
        speakers: None where unknown.
    """

    words: NDArray[np.int64]
    errors: NDArray[np.int64]
    speakers: tuple[str | None, ...]


def paired_errors(tables: Sequence[pa.Table], language: str, metric: Metric) -> PairedErrors:
    """Pair what several models decoded.

    Args:
        tables: of `raywce.evaluation.utterances.SCHEMA`, one for each model.
        language: whose utterances.
        metric: which errors are counted, and whether they are capped.

    Raises:
        ValueError: the tables don't hold the same utterances with the same references.
    """
    of_language = [table.filter(pc.equal(table["language"], language)).sort_by("id") for table in tables]
    first = of_language[0]
    words = reference_lengths(first, metric.group)
    for table in of_language[1:]:
        if table["id"] != first["id"] or (reference_lengths(table, metric.group) != words).any():
            raise ValueError(f"the models must have decoded the same utterances of {language}")
    counted = np.stack([errors(table, metric.group, metric.capped) for table in of_language])
    return PairedErrors(words, counted, tuple(first["speaker"].to_pylist()))
