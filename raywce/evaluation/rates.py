"""WER, CER and similar rates per language, from the counts of a table of utterances: added up, then divided once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from raywce.evaluation.counts import EditCounts
from raywce.evaluation.loops import is_loop
from raywce.evaluation.utterances import COUNT_GROUPS, COUNT_NAMES, errors, is_stopped, reference_lengths


@dataclass(frozen=True)
class LanguageRates:
    """Figures of one language over its whole set; rates are fractions, NaN where all references are empty.

    In a capped rate, an utterance has at most as many errors as its reference has words (or characters): a single
    utterance whose decoding ran away can't decide it. Where decoding was stopped in loops, the others are lower bounds.

    Attributes:
        insertion_rate: inserted words over reference words, both normalised; high where decoding runs away.
        language_identification_accuracy: the share of utterances whose likeliest language token is the one they
            were decoded with; None where it was not measured.
        truncated: utterances whose decoding did not come to the end token.
        loops: those of them that repeat a phrase to the bound (`raywce.evaluation.loops`).
        stopped: those of them that were stopped.
        time_stamps_whole: the share of utterances whose text has all of its time stamps; None where not measured.
        time_stamps_error: seconds that their last one is from the audio's end, on average; None without any.
    """

    utterances: int
    wer_raw: float
    wer_normalized: float
    cer_raw: float
    cer_normalized: float
    wer_raw_capped: float
    wer_normalized_capped: float
    cer_raw_capped: float
    cer_normalized_capped: float
    insertion_rate: float
    language_identification_accuracy: float | None
    truncated: int
    loops: int
    stopped: int
    time_stamps_whole: float | None = None
    time_stamps_error: float | None = None


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
    cut = table.filter(table["truncated"])
    stopped = is_stopped(cut)
    return LanguageRates(
        utterances=table.num_rows,
        wer_raw=counts["words_raw"].rate,
        wer_normalized=counts["words_normalized"].rate,
        cer_raw=counts["characters_raw"].rate,
        cer_normalized=counts["characters_normalized"].rate,
        wer_raw_capped=_capped(table, "words_raw"),
        wer_normalized_capped=_capped(table, "words_normalized"),
        cer_raw_capped=_capped(table, "characters_raw"),
        cer_normalized_capped=_capped(table, "characters_normalized"),
        insertion_rate=counts["words_normalized"].insertion_rate,
        language_identification_accuracy=_identification_accuracy(table),
        truncated=cut.num_rows,
        loops=sum(
            bool(ended) or is_loop(text, truncated=True)
            for text, ended in zip(cut["hypothesis"].to_pylist(), stopped, strict=True)
        ),
        stopped=int(stopped.sum()),
        **_time_stamps(table),
    )


def _time_stamps(table: pa.Table) -> dict[str, float | None]:
    if "time_stamps_whole" not in table.column_names or not pc.count(table["time_stamps_whole"]).as_py():
        return {}
    errors = pc.abs(pc.subtract(table["time_stamps_end"], table["duration"]))
    share, error = pc.mean(table["time_stamps_whole"]), pc.mean(errors.filter(table["time_stamps_whole"]))
    return {"time_stamps_whole": share.as_py(), "time_stamps_error": error.as_py()}


def _total(table: pa.Table, group: str) -> EditCounts:
    return EditCounts(**{name: pc.sum(table[f"{group}_{name}"]).as_py() for name in COUNT_NAMES})


def _capped(table: pa.Table, group: str) -> float:
    length = int(reference_lengths(table, group).sum())
    return int(errors(table, group, capped=True).sum()) / length if length else math.nan


def _identification_accuracy(table: pa.Table) -> float | None:
    correct = pc.equal(table["detected_language"], table["language_token"])  # null where nothing was detected
    measured = pc.count(correct).as_py()
    return pc.sum(correct).as_py() / measured if measured else None
