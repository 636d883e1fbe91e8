from __future__ import annotations

from raywce.data.prepare.summary import sentence_key, shared


def test_counts_distinct_values_of_each_pair() -> None:
    values = {"train": ["a", "a", "b", "c"], "dev": ["b", "c", "d"], "test": ["a", "d", "e"]}
    assert shared(values) == {"train+dev": 2, "train+test": 1, "dev+test": 1}


def test_nothing_shared() -> None:
    assert shared({"train": ["a"], "dev": []}) == {"train+dev": 0}


def test_sentence_key_folds_case_and_space() -> None:
    assert sentence_key(" Straße  A\n") == sentence_key("STRASSE a")
