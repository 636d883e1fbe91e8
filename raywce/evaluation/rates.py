"""WER, CER and similar rates per language, from the counts of a table of utterances: added up, then divided once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from raywce.evaluation.counts import EditCounts
from raywce.evaluation.utterances import COUNT_GROUPS, COUNT_NAMES


@dataclass(frozen=True)
class LanguageRates:
    """Figures of one language over its whole set; rates are fractions, NaN where all references are empty.

    Attributes:
        insertion_rate: inserted words over reference words, both normalised; high where decoding runs away.
        language_identification_accuracy: the share of utterances whose likeliest language token is the one they
            were decoded with; None where it was not measured.
        truncated: utterances whose decoding hit the bound on new tokens.
    """

    utterances: int
    wer_raw: float
    wer_normalized: float
    cer_raw: float
    cer_normalized: float
    insertion_rate: float
    language_identification_accuracy: float | None
    truncated: int


def rates_by_language(table: pa.Table) -> dict[str, LanguageRates]:
    """Return corpus-level rates of a table of `raywce.evaluation.utterances.SCHEMA`, languages by alphabet."""
    languages = sorted(pc.unique(table["language"]).to_pylist())
    return {language: _rates(table.filter(pc.equal(table["language"], language))) for language in languages}


def macro_mean(rates: Mapping[str, LanguageRates], languages: Iterable[str], metric: str) -> float:
    """Return the mean over languages of one metric (a field of `LanguageRates`), each language counting the same.

    Raises:
        KeyError: a language is not in `rates`.
        ValueError: no languages, or the metric was not measured for one of them.
    """
    values = {language: getattr(rates[language], metric) for language in languages}
    missing = [language for language, value in values.items() if value is None]
    if missing or not values:
        raise ValueError(f"{metric} must be measured for each language, but is missing for {missing or 'all'}")
    return float(sum(values.values()) / len(values))


def _rates(table: pa.Table) -> LanguageRates:
    counts = {group: _total(table, group) for group in COUNT_GROUPS}
    return LanguageRates(
        utterances=table.num_rows,
        wer_raw=counts["words_raw"].rate,
        wer_normalized=counts["words_normalized"].rate,
        cer_raw=counts["characters_raw"].rate,
        cer_normalized=counts["characters_normalized"].rate,
        insertion_rate=counts["words_normalized"].insertion_rate,
        language_identification_accuracy=_identification_accuracy(table),
        truncated=pc.sum(table["truncated"]).as_py(),
    )


def _total(table: pa.Table, group: str) -> EditCounts:
    return EditCounts(**{name: pc.sum(table[f"{group}_{name}"]).as_py() for name in COUNT_NAMES})


def _identification_accuracy(table: pa.Table) -> float | None:
    correct = pc.equal(table["detected_language"], table["language_token"])  # null where nothing was detected
    measured = pc.count(correct).as_py()
    return pc.sum(correct).as_py() / measured if measured else None
