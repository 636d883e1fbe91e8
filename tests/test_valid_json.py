from __future__ import annotations

import json
import math
from typing import NoReturn

import pytest
from pydantic import TypeAdapter

from raywce.valid_json import Number, as_json, with_nulls


def no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is no JSON")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_does_not_know_is_null_however_deep_it_is(value: float) -> None:
    figures = {"a": value, "b": [1.5, (value, {"c": value})], "d": True, "e": "ñ", "f": None, "g": 3}
    stored = json.loads(as_json(figures), parse_constant=no_constant)
    assert stored == {"a": None, "b": [1.5, [None, {"c": None}]], "d": True, "e": "ñ", "f": None, "g": 3}
    assert "ñ" in as_json(figures)


def test_finite_figures_stay_as_they_are() -> None:
    figures = {"wer": {"gl": 0.1}, "p": [0.0, 1e-300]}
    assert with_nulls(figures) == figures


def test_null_is_read_as_nan() -> None:
    read = TypeAdapter(dict[str, Number]).validate_json('{"gl": null, "es": 0}')
    assert math.isnan(read["gl"])
    assert read["es"] == 0.0
