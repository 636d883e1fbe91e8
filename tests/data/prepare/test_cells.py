from __future__ import annotations

import math
from typing import Any

import pytest

from raywce.data.prepare.cells import BadCellError, as_label, as_number, as_text, column_names_of, is_missing, shown


@pytest.mark.parametrize(("value", "expected"), [(None, ""), (math.nan, ""), (" \t", ""), (" nan ", "nan")])
def test_what_is_missing_is_not_text(value: Any, expected: str) -> None:
    assert as_text("text", value) == as_label("text", value) == expected
    assert is_missing(value) == (expected == "")


@pytest.mark.parametrize("value", [7, 1.5, True, ["ola"], {"a": "ola"}, "a\0b"])
def test_other_types_are_not_text(value: Any) -> None:
    with pytest.raises(BadCellError, match="sentence must be text"):
        as_text("sentence", value)


def test_labels_may_be_numbers() -> None:
    assert [as_label("speaker", value) for value in (12, "12", -1)] == ["12", "12", "-1"]
    with pytest.raises(BadCellError):
        as_label("speaker", False)


@pytest.mark.parametrize(("value", "expected"), [(2, 2.0), ("2.5", 2.5), (None, None), ("", None), (math.nan, None)])
def test_numbers_may_be_text(value: Any, expected: float | None) -> None:
    assert as_number("offset", value, 0, 10) == expected


@pytest.mark.parametrize("value", [-1, 11, "1,5", math.inf, True, [1], 10**400, "x"])
def test_other_values_are_no_numbers(value: Any) -> None:
    with pytest.raises(BadCellError, match="offset must be a number from 0 to 10"):
        as_number("offset", value, 0, 10)


@pytest.mark.parametrize("value", ["x" * 500, ["x"] * 500, {"x" * 500: 1}, b"x" * 500, "\ud800" * 500, "a\nb"])
def test_at_most_80_characters_of_one_line_are_shown(value: Any) -> None:
    assert len(shown(value)) <= 80
    assert "\n" not in shown(value)
    shown(value).encode()


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (("\ufeffFile_Name", " Text ", "TÍTULO"), ("file_name", "text", "título")),
        (("ti\u0301tulo",), ("t\u00edtulo",)),
        (("Text", "text"), ("Text", "text")),
        (("Text", "TEXT"), ("text", "TEXT")),
        (("Text", "Text"), ("text", "text")),
    ],
)
def test_names_of_columns(header: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert column_names_of(header) == names
