from __future__ import annotations

import pytest

from raywce.data.prepare.names import language_of, language_of_folder, split_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", "train"),
        ("validation", "dev"),
        ("gl_valid", "dev"),
        ("train.clean.100", "train"),
        ("train-00000-of-00002", "train"),
        ("test_manifest", "test"),
        ("train_test", None),
        ("latest", None),
        ("", None),
        (None, None),
    ],
)
def test_split_of(name: str | None, expected: str | None) -> None:
    assert split_of(name) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("gl", "gl"),
        ("GL", "gl"),
        ("sv-SE", "sv"),
        ("gl_es", "gl"),
        ("Galician", "gl"),
        ("ast", "ast"),
        ("none known", None),
        ("", None),
    ],
)
def test_language_of(value: str, expected: str | None) -> None:
    assert language_of(value) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("gl", "gl"), ("pt_br", "pt"), ("ast", "ast"), ("wav", None), ("speech", None)]
)
def test_language_of_folder(name: str, expected: str | None) -> None:
    assert language_of_folder(name) == expected
