"""Word errors of several models on the same utterances, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@dataclass(frozen=True)
class PairedErrors:
    """One language's utterances, ordered by id.

    Attributes:
        words: (utterances,) reference words.
        errors: (models, utterances) substitutions + deletions + insertions.
        speakers: None where unknown.
    """

    words: NDArray[np.int64]
    errors: NDArray[np.int64]
    speakers: tuple[str | None, ...]


def paired_errors(tables: Sequence[pa.Table], language: str, group: str) -> PairedErrors:
    """Pair what several models decoded.

    Args:
        tables: of `raywce.evaluation.utterances.SCHEMA`, one for each model.
        language: whose utterances.
        group: a name of `COUNT_GROUPS`, such as `words_normalized`.

    Raises:
        ValueError: the tables don't hold the same utterances with the same references.
    """
    of_language = [table.filter(pc.equal(table["language"], language)).sort_by("id") for table in tables]
    first = of_language[0]
    words = _sum(first, group, ("hits", "substitutions", "deletions"))
    for table in of_language[1:]:
        if table["id"] != first["id"] or (_sum(table, group, ("hits", "substitutions", "deletions")) != words).any():
            raise ValueError(f"the models must have decoded the same utterances of {language}")
    errors = [_sum(table, group, ("substitutions", "deletions", "insertions")) for table in of_language]
    return PairedErrors(words, np.stack(errors), tuple(first["speaker"].to_pylist()))


def _sum(table: pa.Table, group: str, names: Sequence[str]) -> NDArray[np.int64]:
    columns = [table[f"{group}_{name}"].to_numpy().astype(np.int64) for name in names]
    total: NDArray[np.int64] = np.sum(columns, axis=0)
    return total
