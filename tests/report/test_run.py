from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from raywce.errors import InputError
from raywce.report.run import read_run
from raywce.report.write import make_report
from raywce.runs.folder import RunFolder
from tests.older_file import older
from tests.report.made_runs import MadeRun


def test_what_is_judged_again_is_what_the_search_stored(confirmed: MadeRun) -> None:
    run = read_run(confirmed.folder)
    assert run.outcome.to_json() == confirmed.folder.read_text("outcome.json")
    assert run.finished
    assert run.search_seconds == 1234.5


def test_a_run_of_an_older_version_is_read(searched: MadeRun, tmp_path: Path) -> None:
    shutil.copytree(searched.folder.local, tmp_path / "run")
    record = tmp_path / "run" / "experiment.yaml"
    written = record.read_text()
    assert "\n  log_every: " in written
    without = "".join(line for line in written.splitlines(keepends=True) if not line.startswith("  log_every: "))
    record.write_text(older(without, training__wobble=0.5))
    folder = RunFolder.at(str(tmp_path / "run"))
    assert read_run(folder).outcome == read_run(searched.folder).outcome
    assert make_report(folder).figures.finished


def test_a_folder_of_no_search_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"must be a search's run folder.*no experiment.yaml.*raywce search"):
            read_run(RunFolder.at(str(folder)))


@pytest.mark.parametrize("name", ["experiment.yaml", "trials.parquet", "outcome.json", "utterances.parquet"])
def test_a_damaged_file_is_named(searched: MadeRun, tmp_path: Path, name: str) -> None:
    shutil.copytree(searched.folder.local, tmp_path / "run")
    (tmp_path / "run" / name).write_text("{")
    with pytest.raises(InputError, match=f"{name}: must be as the run wrote it"):
        read_run(RunFolder.at(str(tmp_path / "run"))).decoded([("baseline", "original")])
