from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from raywce.cli import app
from raywce.errors import InputError
from tests.export.runs import SearchRun
from tests.tiny_whisper import write_tiny_whisper


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_whisper(tmp_path / "model")


def told(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["average", *arguments])
    assert isinstance(result.exception, InputError), result
    return str(result.exception)


def test_runs_and_folders_become_one_that_evaluate_and_export_take(model: Path, tmp_path: Path) -> None:
    run = SearchRun.write(tmp_path / "search", model)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["average", run.folder.uri, str(model), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"average of 2 models: {out}\n"
    exported = CliRunner().invoke(app, ["export", str(out), str(tmp_path / "exported")])
    assert exported.exit_code == 0, exported.output
    assert exported.stdout == f"average of 2 models: {tmp_path / 'exported'}\n"
    with_trial = CliRunner().invoke(app, ["export", str(out), str(tmp_path / "third"), "--trial", "search-0"])
    assert "must be left out for an averaged model" in str(with_trial.exception)


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_written(model: Path, tmp_path: Path) -> None:
    full, other = tmp_path / "full", write_tiny_whisper(tmp_path / "other", seed=1)
    full.mkdir()
    (full / "file").touch()
    found = told(str(model), str(tmp_path / "none"), str(other), str(model), "--out", str(full))
    for problem in (
        f"{tmp_path}/none: must be a run folder",
        "--out: must be new or empty",
        f"{other}: must be a fine-tuning of the same start",
        f"{model}: must be another model than those before it",
    ):
        assert problem in found
    assert [file.name for file in full.iterdir()] == ["file"]


def test_one_model_is_too_few(model: Path, tmp_path: Path) -> None:
    assert "must be two models or more, but got 1" in told(str(model), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
