from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raywce.cli import app
from raywce.cli.profile import show_measured
from raywce.cluster.connect import Cluster
from raywce.errors import InputError
from raywce.experiment.load import load
from raywce.profile.measured import Batches
from tests.profile.measures import measured
from tests.screen import readable
from tests.tiny_corpus import write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper

FILE = """
name: small
model: {checkpoint: MODEL}
data: {folder: DATA}
languages: {low_resource: [gl], high_resource: [es]}
weighting: {kind: constant, alpha: {uniform: [1, 4]}}
training: {steps: 4, batch_size: 4}
search: {trials: 3, baseline_seeds: 1}
resources: {workers: 2}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_tiny_whisper(tmp_path / "model", chunk_length=3)
    write_tiny_corpus(tmp_path / "data", {"gl": 4, "es": 4}, {"gl": 4, "es": 4})
    path = tmp_path / "small.yaml"
    path.write_text(FILE.replace("MODEL", str(tmp_path / "model")).replace("DATA", str(tmp_path / "data")))
    return path


def test_a_wrong_file_is_reported_before_a_cluster_is_used(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raywce.cluster.connect.connect", lambda: pytest.fail("no cluster may be used"))
    result = CliRunner().invoke(app, ["profile", str(file), "training.batch_size=5"])
    assert isinstance(result.exception, InputError)
    assert "training.batch_size" in str(result.exception)


@pytest.mark.slow
def test_a_profile_is_shown_and_kept_and_nothing_else_stays(cluster: Cluster, file: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    storage = f"storage={tmp_path / 'runs'}"
    done = CliRunner().invoke(app, ["profile", str(file), storage, "--seconds", "4", "--json", str(figures)])
    assert done.exit_code == 0, done.output
    found = json.loads(figures.read_text())
    measured, estimate = found["measured"], found["estimate"]
    assert f"{measured['utterances_per_second']:.2f} utterances/s" in done.output
    assert measured["around_s"] > 0
    assert sum(measured["shares"].values()) == pytest.approx(1.0)
    trainings = {phase["name"]: phase["trainings"] for phase in estimate["phases"]}
    assert (trainings["baseline"], trainings["search"]) == (1, 3)
    assert estimate["seconds"] > 4 * measured["around_s"]
    kept = sorted(path.name for path in (tmp_path / "runs" / "small").iterdir() if not path.name.startswith("."))
    assert kept == ["profile.json"]
    validated = CliRunner().invoke(app, ["validate", str(file), storage])
    assert "time           about" in validated.output


def test_the_figures_can_be_read_at_80_columns(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = [Batches(1024, 64, 16, 1234.56, 78.12), Batches(1024, 1, 1024, None, None, "out of memory")]
    found = measured(load(file, []).experiment, utterances_per_second=1234.56, audio_per_second=12345.6, batches=ways)
    readable.check(
        readable.printed(monkeypatch, lambda: show_measured(found)),
        "training 1234.56 utterances/s, 12345.6 s of audio/s, 1.00 s a step (mean",
        "batch_size accumulation_steps micro-batch utterances/s GB",
        "1024 64 16 1234.56 78.12",
        "batch_size 1024, micro-batch 1024 was not measured: out of memory",
    )
