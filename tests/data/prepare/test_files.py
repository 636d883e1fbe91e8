from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from raywce.data.prepare.files import audio_key, folders, is_audio, is_table
from raywce.data.prepare.passed_over import PassedOverFiles


@pytest.mark.parametrize(
    ("name", "audio", "table"),
    [
        ("a.wav", True, False),
        ("A.FLAC", True, False),
        ("._a.wav", False, False),
        ("train.CSV", False, True),
        ("._train.csv", False, False),
        ("a.wav.txt", False, False),
        (".csv", False, False),
        ("wav", False, False),
    ],
)
def test_kinds_by_name(name: str, audio: bool, table: bool) -> None:
    assert (is_audio(name), is_table(name)) == (audio, table)


def test_folders_come_parents_first_by_name(tmp_path: Path) -> None:
    for name in ("b/c", "a/d", "b/.hidden", "out/x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b/.hidden/a.wav").touch()
    passed_over = PassedOverFiles()
    found = list(folders(tmp_path, tmp_path / "out", passed_over))
    assert found == [tmp_path / name for name in ("", "a", "a/d", "b", "b/c")]
    assert [group.names for group in passed_over.groups()] == [("a.wav",)]


def test_audio_key_is_one_for_all_paths_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "wav")
    name = "\u00e1.wav"
    paths = [tmp_path / "wav" / name, tmp_path / "link" / name, tmp_path / "x" / ".." / "wav" / name]
    keys = {audio_key(str(path)) for path in [*paths, tmp_path / "wav" / unicodedata.normalize("NFD", name)]}
    assert len(keys) == 1
    assert audio_key("a\0/b.wav") == "a\0/b.wav"
