from __future__ import annotations

from dataclasses import fields

import pytest

from raywce.evaluation.metric import Metric
from raywce.evaluation.rates import LanguageRates
from raywce.evaluation.utterances import COUNT_GROUPS

NAMES = ("wer_normalized", "wer_raw", "cer_normalized", "cer_raw")


@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_metric_names_its_counts_and_its_rate(name: str, capped: bool) -> None:
    metric = Metric(name, capped)
    assert metric.group in COUNT_GROUPS
    assert metric.field in {field.name for field in fields(LanguageRates)}
    assert metric.plain == Metric(name)


def test_labels() -> None:
    assert [Metric("wer_raw", capped).label for capped in (False, True)] == ["WER", "capped WER"]
    assert Metric("wer_normalized", True).of_characters == Metric("cer_normalized", True)
    assert Metric("wer_normalized", True).of_characters.label == "capped CER"
