from __future__ import annotations

from dataclasses import fields

import pytest

from raywce.evaluation.metric import Metric, Metrics
from raywce.evaluation.rates import LanguageRates
from raywce.evaluation.utterances import COUNT_GROUPS

NAMES = ("wer_normalized", "wer_raw", "cer_normalized", "cer_raw")


def metrics(name: str, *low: str, others: tuple[str, ...] = (), capped: bool = True) -> Metrics:
    return Metrics(name, capped, low, (*low, *others))  # type: ignore[arg-type]


@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_metric_names_its_counts_and_its_rate(name: str, capped: bool) -> None:
    metric = metrics(name, "gl", capped=capped).of("gl")
    assert metric.name == name
    assert metric.group in COUNT_GROUPS
    assert metric.group.startswith(metric.counted)
    assert metric.field in {field.name for field in fields(LanguageRates)}
    assert metric.plain.field == name


@pytest.mark.parametrize("language", ["zh", "zh-TW", "cmn_hans_cn", "yue", "ja", "th", "lo", "km", "my", "bo", "dz"])
def test_auto_is_a_cer_where_words_have_no_spaces_between_them(language: str) -> None:
    found = metrics("auto", language, others=("es",))
    assert found.of(language) == Metric("cer", "normalized", capped=True)
    assert found.of("es") == Metric("wer", "normalized", capped=True)


@pytest.mark.parametrize("language", ["ko", "vi", "id", "gl", "ast", "ar", "hi"])
def test_auto_is_a_wer_elsewhere(language: str) -> None:
    assert metrics("auto", language).of(language).name == "wer_normalized"


def test_one_kind_has_one_heading_and_no_marks() -> None:
    found = metrics("auto", "gl", others=("es",))
    assert (found.label, found.other_label, found.title) == ("capped WER", "capped CER", "Word error rate")
    assert (found.marks, found.counted, found.about) == ({}, "words", "normalised")
    assert (found.objective_label, found.is_relative) == ("low-resource capped WER", False)
    by_characters = metrics("cer_raw", "gl", others=("es",), capped=False)
    assert (by_characters.label, by_characters.title) == ("CER", "Character error rate")
    assert (by_characters.counted, by_characters.about) == ("characters", "raw")


def test_both_kinds_have_a_heading_of_both_and_a_mark_for_each_language() -> None:
    found = metrics("auto", "zh", others=("es",))
    assert found.marks == {"zh": "CER", "es": "WER"}
    assert (found.label, found.title) == ("capped WER or CER", "Word and character error rate")
    assert found.about == "CER of zh, WER of the others, normalised"
    assert (found.objective_label, found.is_relative) == ("low-resource capped CER", False), "of one kind"
    mixed = metrics("auto", "zh", "gl")
    assert (mixed.objective_label, mixed.is_relative) == ("relative low-resource error rate", True)
    assert "mean over zh, gl" in mixed.objective_about


def test_each_language_is_judged_by_its_own_rate() -> None:
    rates = {
        "wer": {"zh": 0.9, "es": 0.2},
        "cer": {"zh": 0.3, "es": 0.1},
        "wer_normalized": {"zh": 1.9, "es": 0.25},
        "cer_normalized": {"zh": 0.35, "es": 0.15},
    }
    found = metrics("auto", "zh", others=("es",))
    assert found.deciding(rates) == {"zh": 0.3, "es": 0.2}
    assert found.plain.deciding(rates) == {"zh": 0.35, "es": 0.25}
    assert found.deciding({"wer": {"zh": 0.9}}) == {}


def test_what_is_counted_of_a_text() -> None:
    assert Metric("wer", "normalized").pieces("a  b c", "gl") == ["a", "b", "c"]
    assert Metric("cer", "normalized").pieces("a  b", "gl") == ["a", " ", "b"]
    assert Metric("cer", "normalized").pieces("今天 好", "zh") == ["今", "天", "好"]
    assert Metric("cer", "raw").pieces("今天 好", "zh") == ["今", "天", " ", "好"]
