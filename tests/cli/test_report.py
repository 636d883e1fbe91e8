from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raywce.cli import app
from raywce.errors import InputError
from raywce.experiment import environment
from raywce.experiment.load import ExperimentFile
from tests.report import made_runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> made_runs.MadeRun:
    return made_runs.searched(tmp_path_factory.mktemp("run"))


def test_it_prints_tables_and_writes_page_and_figures(run: made_runs.MadeRun, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    result = CliRunner().invoke(app, ["report", str(run.folder.local), "--json", str(figures)])
    assert result.exit_code == 0, result.output
    assert f"report: {run.folder.path('report.html')}" in result.output
    assert "WER in %; change from the baseline and limit in points" in result.output
    found = json.loads(figures.read_text())
    assert found["finding"] in " ".join(result.output.split())
    assert (run.folder.local / "report.html").read_text().startswith("<!doctype html>")


def test_a_run_may_be_a_uri_and_the_page_elsewhere(run: made_runs.MadeRun, tmp_path: Path) -> None:
    out = tmp_path / "pages" / "one.html"
    result = CliRunner().invoke(app, ["report", f"file://{run.folder.local}", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert out.read_text().rstrip().endswith("</html>")
    assert f"report: {out}" in result.output


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert not list(tmp_path.iterdir())


def searching(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, finished: Any) -> tuple[list[str], Path]:
    """`raywce search` whose search is done already by `finished`."""
    monkeypatch.setattr(environment, "missing", lambda sections, space: [])
    monkeypatch.setattr(environment, "cluster_runs", lambda: False)

    def run_search(file: ExperimentFile, **_: object) -> Any:
        made = made_runs.MadeRun(file)
        made.baseline()
        made.search()
        return finished(made)

    monkeypatch.setattr("raywce.search.phases.run_search", run_search)
    made_runs.write_file(tmp_path)
    return ["search", str(tmp_path / "made.yaml")], tmp_path / "runs" / "made"


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    for option in ("--out", "--json"):
        result = CliRunner().invoke(app, ["report", str(tmp_path / "run"), option, str(tmp_path)])
        assert isinstance(result.exception, InputError)
        assert f"{option}: must be a file to write, but got the folder" in str(result.exception)


def test_a_search_leaves_its_report_in_the_run_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command, folder = searching(monkeypatch, tmp_path, lambda made: made.outcome())
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert f"report: {folder / 'report.html'}" in result.output
    assert "raywce report" in (folder / "report.html").read_text()


def test_a_search_does_not_fail_for_its_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(made: made_runs.MadeRun) -> Any:
        found = made.outcome()
        (made.folder.local / "trials.parquet").write_text("{")
        return found

    command, folder = searching(monkeypatch, tmp_path, broken)
    result = CliRunner().invoke(app, [*command, "--json", str(tmp_path / "figures.json")])
    assert result.exit_code == 0, result.output
    assert "No report was written (InputError: " in result.output
    assert f"Run `raywce report {folder}` to try again." in result.output
    assert json.loads((tmp_path / "figures.json").read_text())["name"] == "made"


def test_a_search_starts_without_what_only_its_report_needs() -> None:
    code = (
        "import sys, raywce.cli, raywce.experiment.load; print('plotly' in sys.modules, 'raywce.report' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.split() == ["False", "False"]
