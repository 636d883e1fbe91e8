"""Utterances whose decoding ran away: notes where they set the plain rate apart from the capped one."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from raywce import numbers
from raywce.evaluation.metric import Metric, Metrics
from raywce.evaluation.paired import paired_errors
from raywce.evaluation.rates import rates_by_language

_NOTED = 0.005  # between the two rates, a fraction
_MOST = 3  # utterances that a note names


def runaway_notes(models: Iterable[tuple[str, pa.Table]], metrics: Metrics) -> list[str]:
    """Return a note for each model and language whose plain rate is more than half a point above the capped one.

    Args:
        models: a name and a table of `raywce.evaluation.utterances.SCHEMA` each.
        metrics: the capped rates; plain ones need no notes.
    """
    if not metrics.capped:
        return []
    notes = []
    for model, table in models:
        for language, rates in rates_by_language(table).items():
            metric = metrics.of(language)
            plain, capped = (getattr(rates, one.field) for one in (metric.plain, metric))
            if plain - capped > _NOTED:
                known = f"{'at least ' if rates.stopped else ''}{numbers.percent(plain)} %"
                both = f"{metric.plain.label} {known}, {metric.label} {numbers.percent(capped)} %"
                notes.append(f"{model}, {language}: {both}, by {_named(table, language, metric)}")
    return notes


def _named(table: pa.Table, language: str, metric: Metric) -> str:
    """Name the utterances with more errors than their reference has words (or characters), the worst first."""
    paired = paired_errors([table], language, metric.plain)
    beyond = paired.errors[0] - paired.words
    order = [int(index) for index in (-beyond).argsort(kind="stable") if beyond[index] > 0]
    names = sorted(row["id"] for row in table.select(["id", "language"]).to_pylist() if row["language"] == language)
    lengths = [f"{paired.words[index]} {metric.counted}" for index in order]
    shown = [
        f"{names[index]} ({paired.errors[0][index]} errors in {length})"
        for index, length in zip(order, lengths, strict=True)
    ]
    more = [f"{len(shown) - _MOST} more"] if len(shown) > _MOST else []
    return ", ".join([*shown[:_MOST], *more])
