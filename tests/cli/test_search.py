from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from raywce.cli import app
from raywce.errors import InputError, RunFailed
from raywce.experiment import environment
from raywce.experiment.load import ExperimentFile
from raywce.runs.folder import RunFolder
from raywce.runs.json_files import write_outcome
from raywce.search.phases import is_finished
from raywce.selection.outcome import References, SearchOutcome
from tests.search import surrogate


@pytest.fixture(autouse=True)
def _nothing_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No speech and no checkpoint are at hand: only the file itself is checked."""
    monkeypatch.setattr(environment, "missing", lambda sections, space: [])
    monkeypatch.setattr(environment, "cluster_runs", lambda: False)


def finished(tmp_path: Path) -> tuple[Path, RunFolder]:
    path = surrogate.write_file(tmp_path)
    file = surrogate.load_file(tmp_path)
    folder = RunFolder.of(file.experiment.storage, file.experiment.name)
    folder.write_text("experiment.yaml", file.resolved_yaml())
    references = References({"gl": 0.5}, {"gl": 0.6}, {}, None)
    missed = {"references": references, "baseline_objective": 0.5, "best": None, "nearest": None}
    counts = {"trials": 0, "feasible": 0, "failed": {}, "stopped": 0, "tables": {}, "settings": None, "pareto": []}
    write_outcome(folder, SearchOutcome("toy", "wer_raw", ["gl"], [], **missed, **counts, state="nothing feasible"))
    return path, folder


def test_a_finished_search_is_said_to_be_so_nothing_changes_and_it_exits_as_it_did(tmp_path: Path) -> None:
    path, folder = finished(tmp_path)
    before = {file: file.stat().st_mtime_ns for file in folder.local.iterdir()}
    result = CliRunner().invoke(app, ["search", str(path), "--json", str(tmp_path / "figures.json")])
    assert result.exit_code == 3, result.output
    assert "This search is finished" in result.output
    assert {file: file.stat().st_mtime_ns for file in folder.local.iterdir()} == before
    assert (tmp_path / "figures.json").read_text() == (folder.local / "outcome.json").read_text()


def test_another_file_of_the_same_name_is_refused(tmp_path: Path) -> None:
    path, _ = finished(tmp_path)
    result = CliRunner().invoke(app, ["search", str(path), "training.steps=30"])
    assert isinstance(result.exception, InputError)
    assert "training.steps: must be 20, as in " in str(result.exception)


def test_resume_needs_something_to_resume(tmp_path: Path) -> None:
    path = surrogate.write_file(tmp_path)
    result = CliRunner().invoke(app, ["search", str(path), "--resume"])
    assert isinstance(result.exception, InputError)
    assert "there must be a search to resume" in str(result.exception)
    assert not (tmp_path / "runs").exists()


def test_a_file_without_distributions_is_refused(tmp_path: Path) -> None:
    path = surrogate.write_file(tmp_path)
    tree = yaml.safe_load(path.read_text())
    tree["weighting"] = {"kind": "constant", "alpha": 2.0}
    del tree["training"]["optimizer"], tree["search"]["baseline"]
    path.write_text(yaml.safe_dump(tree))
    result = CliRunner().invoke(app, ["search", str(path)])
    assert isinstance(result.exception, InputError)
    assert "distribution" in str(result.exception)


def test_an_unfinished_folder_of_the_same_file_goes_on(tmp_path: Path) -> None:
    _, folder = finished(tmp_path)
    (folder.local / "outcome.json").unlink()
    assert not is_finished(surrogate.load_file(tmp_path), folder, resume=True)


def test_the_demo_corpus_is_generated_before_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(folder: Path, **options: object) -> SimpleNamespace:
        folder.mkdir()
        return SimpleNamespace(utterances=10)

    def run_search(file: ExperimentFile, **_: object) -> None:
        assert Path(file.experiment.data.folder).is_dir()
        raise RunFailed("the search begins")

    monkeypatch.setattr("raywce.demo.corpus.prepare_corpus", generate)
    monkeypatch.setattr("raywce.search.phases.run_search", run_search)
    demo = ["data.folder=demo:six-languages", f"data.cache={tmp_path / 'cache'}"]
    result = CliRunner().invoke(app, ["search", str(surrogate.write_file(tmp_path)), *demo])
    assert str(result.exception) == "the search begins"
    assert "Note: the demo corpus is generated on first use" in result.stdout
