from __future__ import annotations

import math
from dataclasses import replace

import jiwer
import pyarrow as pa
import pytest

from raywce.evaluation.normalizer import words
from raywce.evaluation.rates import macro_mean, rates_by_language
from raywce.evaluation.utterances import UtteranceResult, score, to_table

PAIRS = {
    "gl": [("A avó vai á casa.", "a avo vai a casa"), ("Colle-lo", "colle-lo colle-lo"), ("Si", "Non")],
    "es": [("Buenos días", "buenos días"), ("¿Qué tal estás?", "Que tal"), ("uno dos tres", "uno dos tres")],
}


def _row(language: str, index: int, pair: tuple[str, str], detected: str | None = None) -> UtteranceResult:
    return score(
        id=f"{language}{index}",
        language=language,
        language_token="es" if language == "ast" else language,
        speaker=None,
        duration=1.0,
        reference=pair[0],
        hypothesis=pair[1],
        normalizer="words",
        detected_language=detected,
        truncated=index == 1,
    )


ROWS = [_row(language, i, pair) for language, pairs in PAIRS.items() for i, pair in enumerate(pairs)]


@pytest.mark.parametrize("language", sorted(PAIRS))
def test_rates_are_those_of_jiwer_over_the_corpus(language: str) -> None:
    rates = rates_by_language(to_table(ROWS))[language]
    references, hypotheses = map(list, zip(*PAIRS[language], strict=True))
    normalized = [list(map(words, texts)) for texts in (references, hypotheses)]
    assert rates.utterances == 3
    assert rates.wer_raw == pytest.approx(jiwer.wer(references, hypotheses))
    assert rates.wer_normalized == pytest.approx(jiwer.wer(*normalized))
    assert rates.cer_raw == pytest.approx(jiwer.cer(references, hypotheses))
    assert rates.cer_normalized == pytest.approx(jiwer.cer(*normalized))
    assert rates.truncated == 1


def test_rates_of_shards_of_unequal_size_equal_those_of_the_whole() -> None:
    whole = rates_by_language(to_table(ROWS))
    shards = pa.concat_tables([to_table(ROWS[:1]), to_table(ROWS[1:])])
    assert rates_by_language(shards) == whole
    assert list(whole) == ["es", "gl"]


def test_no_mean_over_utterances() -> None:
    pairs = [("a b c d e f g h i j", "a b c d e f g h i j"), ("x", "y")]
    rates = rates_by_language(to_table([_row("gl", i, pair) for i, pair in enumerate(pairs)]))
    assert rates["gl"].wer_normalized == pytest.approx(1 / 11)


def test_a_runaway_repetition_shows_as_insertions() -> None:
    rows = [_row("gl", 0, ("un dous tres", "un dous tres")), _row("gl", 2, ("si", "si " * 100))]
    rates = rates_by_language(to_table(rows))["gl"]
    assert rates.insertion_rate == rates.wer_normalized == pytest.approx(99 / 4)


def test_in_a_capped_rate_no_utterance_has_more_errors_than_words() -> None:
    looped = replace(_row("gl", 1, ("si", "si " * 100)), truncated=True)
    rates = rates_by_language(to_table([_row("gl", 0, ("un dous tres", "un dous tes")), looped]))["gl"]
    assert rates.wer_normalized == pytest.approx((1 + 99) / 4)
    assert rates.wer_normalized_capped == rates.wer_raw_capped == pytest.approx((1 + 1) / 4)
    assert rates.cer_normalized_capped == rates.cer_raw_capped == pytest.approx((1 + 2) / 14)
    assert (rates.truncated, rates.loops) == (1, 1)


def test_capped_rates_are_of_raw_or_of_normalised_texts() -> None:
    rows = [_row("gl", 0, ("Ola, Mar!", "ola mar")), _row("gl", 2, ("si", "si " * 9))]
    rates = rates_by_language(to_table(rows))["gl"]
    assert (rates.wer_raw_capped, rates.wer_normalized_capped) == (pytest.approx(3 / 3), pytest.approx(1 / 3))
    assert (rates.cer_raw_capped, rates.cer_normalized_capped) == (pytest.approx(6 / 11), pytest.approx(2 / 9))


def test_what_was_stopped_is_wholly_wrong_in_the_capped_rate() -> None:
    stopped = replace(_row("gl", 1, ("un dous", "un dous dous")), truncated=True, stopped=True)
    table = to_table([_row("gl", 0, ("un dous tres", "un dous tes")), stopped])
    rates = rates_by_language(table)["gl"]
    assert rates.wer_normalized == pytest.approx((1 + 1) / 5), "without what it would have said yet"
    assert rates.wer_normalized_capped == pytest.approx((1 + 2) / 5)
    assert rates.cer_normalized_capped == pytest.approx((1 + 7) / 19)
    assert (rates.truncated, rates.loops, rates.stopped) == (1, 1, 1)
    older = table.drop_columns("stopped")
    assert rates_by_language(older)["gl"].wer_normalized_capped == pytest.approx((1 + 1) / 5)


def test_below_the_cap_both_rates_are_the_same() -> None:
    rates = rates_by_language(to_table(ROWS))["es"]
    assert rates.wer_normalized_capped == rates.wer_normalized
    assert rates.cer_raw_capped == rates.cer_raw


def test_identification_is_held_against_the_token_used_and_only_where_measured() -> None:
    pair = ("a", "a")
    rows = [_row("ast", 0, pair, "es"), _row("ast", 1, pair, "pt"), _row("ast", 2, pair), _row("gl", 0, pair)]
    rates = rates_by_language(to_table(rows))
    assert rates["ast"].language_identification_accuracy == 0.5
    assert rates["gl"].language_identification_accuracy is None
    with pytest.raises(ValueError, match="missing for \\['gl'\\]"):
        macro_mean(rates, ["ast", "gl"], "language_identification_accuracy")


def test_macro_mean_counts_each_language_the_same() -> None:
    rows = [_row("es", i, ("a", "a")) for i in range(9)] + [_row("gl", 0, ("a", "b"))]
    rates = rates_by_language(to_table(rows))
    assert macro_mean(rates, ["es", "gl"], "wer_normalized") == 0.5
    assert macro_mean(rates, ["gl"], "wer_raw") == 1.0
    with pytest.raises(KeyError):
        macro_mean(rates, ["pt"], "wer_raw")
    with pytest.raises(ValueError, match="must be measured"):
        macro_mean(rates, [], "wer_raw")


def test_a_language_of_empty_references_has_no_rate() -> None:
    rates = rates_by_language(to_table([_row("gl", 0, ("", "thank you"))]))["gl"]
    assert math.isnan(rates.wer_normalized)
