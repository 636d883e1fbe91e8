from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from raywce.data.prepare.file_names import find_file, suffix_of


def test_suffix_is_that_of_a_path() -> None:
    for name in ("a.WAV", "a.tar.gz", ".hidden", "a", "..a.b"):
        assert suffix_of(name) == Path(name).suffix.lower()


@pytest.mark.parametrize("folder", ["NFC", "NFD"])
@pytest.mark.parametrize("file", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_accents_in_any_form_find_the_file(tmp_path: Path, folder: str, file: str, asked: str) -> None:
    there = tmp_path / unicodedata.normalize(folder, "mañá") / unicodedata.normalize(file, "é.wav")
    there.parent.mkdir()
    there.touch()
    assert find_file(tmp_path / unicodedata.normalize(asked, "mañá/é.wav")).samefile(there)


def test_a_file_of_the_very_name_comes_first(tmp_path: Path) -> None:
    for name in ("\u00e9.wav", "e\u0301.wav"):
        (tmp_path / name).touch()
        assert find_file(tmp_path / name).name == name


@pytest.mark.parametrize("name", ["non hai é.wav", "ñ" * 3000, "a.wav"])
def test_what_is_not_there_stays_as_it_is(tmp_path: Path, name: str) -> None:
    assert find_file(tmp_path / name) == tmp_path / name
