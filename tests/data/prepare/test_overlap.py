from __future__ import annotations

from raywce.data.prepare.overlap import shared


def test_counts_distinct_values_of_each_pair() -> None:
    values = {"train": ["a", "a", "b", "c"], "dev": ["b", "c", "d"], "test": ["a", "d", "e"]}
    assert shared(values) == {"train+dev": 2, "train+test": 1, "dev+test": 1}


def test_nothing_shared() -> None:
    assert shared({"train": ["a"], "dev": []}) == {"train+dev": 0}
