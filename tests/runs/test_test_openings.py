from __future__ import annotations

from pathlib import Path

import pytest

from raywce.errors import InputError
from raywce.runs.folder import RunFolder
from raywce.runs.test_openings import EVALUATE, SEARCH, open_test_split, openings, run_of_model


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder.of(str(tmp_path), "run")
    made.open("name: run\n")
    return made


def test_an_opening_is_recorded_and_a_second_one_refused(folder: RunFolder) -> None:
    open_test_split(folder, EVALUATE, ["model"], again=False)
    with pytest.raises(InputError, match=r"only once .* but got raywce evaluate on .* --open-test-again"):
        open_test_split(folder, EVALUATE, ["model"], again=False)
    with pytest.raises(InputError):
        open_test_split(folder, SEARCH, ["winner"], again=False)
    assert [(opening["command"], opening["models"], opening["again"]) for opening in openings(folder)] == [
        (EVALUATE, ["model"], False)
    ]


def test_asked_for_it_is_opened_again_and_that_is_recorded(folder: RunFolder) -> None:
    open_test_split(folder, SEARCH, ["winner"], again=False)
    open_test_split(folder, EVALUATE, ["model"], again=True)
    assert [opening["again"] for opening in openings(folder)] == [False, True]


def test_a_resumed_search_uses_its_own_opening(folder: RunFolder) -> None:
    open_test_split(folder, SEARCH, ["winner"], again=False)
    open_test_split(folder, SEARCH, ["winner"], again=False)
    assert len(openings(folder)) == 1


def test_the_run_that_a_model_belongs_to(folder: RunFolder, tmp_path: Path) -> None:
    assert run_of_model(folder.path("model")) == folder
    assert run_of_model(folder.path("trials", "confirm-baseline-1", "step-00000080")) == folder
    assert run_of_model(str(tmp_path / "elsewhere" / "model")) is None
    assert run_of_model("openai/whisper-base") is None
