from __future__ import annotations

import json
from pathlib import Path

import pytest

from raywce.errors import InputError
from raywce.runs.folder import RunFolder


def test_an_opened_folder_keeps_its_first_file_and_versions(tmp_path: Path) -> None:
    folder = RunFolder.of(str(tmp_path), "a")
    folder.open("one: 1\n")
    assert json.loads(folder.read_text("versions.json"))["ray"]
    folder.write_text("versions.json", "of the first start")
    folder.open("one: 2\n")
    assert folder.read_text("experiment.yaml") == "one: 1\n"
    assert folder.read_text("versions.json") == "of the first start"


def test_a_folder_belongs_to_one_command_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "run"))
    with folder.held(), pytest.raises(InputError, match="one command at a time"), folder.held():
        pass
    with folder.held():
        pass


def test_a_folder_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="must be writable"), RunFolder(str(tmp_path / "file" / "run")).held():
        pass
