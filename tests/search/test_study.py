from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from raywce.search.study import open_journal


def numbers(path: Path) -> list[float]:
    study = optuna.create_study(study_name="toy", storage=open_journal(path), load_if_exists=True)
    return [trial.params["x"] for trial in study.trials]


def add(path: Path, x: float) -> None:
    study = optuna.create_study(study_name="toy", storage=open_journal(path), load_if_exists=True)
    study.add_trial(
        optuna.create_trial(value=x, params={"x": x}, distributions={"x": optuna.distributions.FloatDistribution(0, 9)})
    )


def test_a_torn_last_line_is_cut_off_and_what_comes_after_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "study"
    add(path, 1.0)
    with path.open("a") as stream:
        stream.write('{"op_code":4,"worker')
    add(path, 2.0)
    assert numbers(path) == [1.0, 2.0]


def test_a_file_that_cannot_be_read_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "study"
    add(path, 1.0)
    torn = path.read_bytes().replace(b"{", b"", 1)
    path.write_bytes(torn)
    assert numbers(path) == []
    assert (tmp_path / "study.broken").read_bytes() == torn
    assert "can't be read" in caplog.text


def test_the_lock_of_a_killed_command_does_not_hold_up_the_next(tmp_path: Path) -> None:
    path = tmp_path / "study"
    (tmp_path / "study.lock").symlink_to(path)
    add(path, 1.0)
    assert not (tmp_path / "study.lock").is_symlink()
