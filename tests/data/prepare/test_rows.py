from __future__ import annotations

import pytest

from raywce.data.prepare.rows import clean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ola , mundo !", "Ola, mundo!"),
        ("« Bonjour » ?", "«Bonjour»?"),
        ("¿ Que tal ( ben ) ?", "¿Que tal (ben)?"),
        ("custa .5 e ...segue", "custa .5 e ...segue"),
        ("xa está.", "xa está."),
    ],
)
def test_punctuation_spaces(text: str, expected: str) -> None:
    assert clean(text, ["punctuation-spaces"]) == expected


def test_kept_as_written_but_for_surrounding_space() -> None:
    assert clean("  Ola ,  mundo\u0301 \n") == "Ola ,  mundo\u0301"


def test_nfc_only_by_name() -> None:
    assert clean("o\u0301", ["nfc"]) == "\u00f3"
