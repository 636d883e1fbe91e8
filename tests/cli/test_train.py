import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from raywce.assets import SIX_LANGUAGES, speech_path
from raywce.cli import app
from raywce.cli.train import dev_table
from raywce.errors import InputError, RunFailed
from raywce.evaluation.metric import Metrics
from raywce.experiment.load import load
from raywce.runs.folder import RunFolder
from raywce.screen.console import show_table
from raywce.trial_report import Report
from tests.screen import readable
from tests.tiny_corpus import write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper

FILE = """
name: small
model: {checkpoint: MODEL}
data: {folder: DATA}
languages: {low_resource: [gl], high_resource: [es]}
weighting: {kind: constant, alpha: {uniform: [1, 4]}}
training: {steps: 1, batch_size: 2, optimizer: {learning_rate: {loguniform: [1e-6, 1e-4]}}}
search: {baseline: {training.optimizer.learning_rate: 1e-5}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_tiny_whisper(tmp_path / "model")
    write_tiny_corpus(tmp_path / "data", {"gl": 2, "es": 2})
    text = FILE.replace("MODEL", str(tmp_path / "model")).replace("DATA", str(tmp_path / "data"))
    path = tmp_path / "small.yaml"
    path.write_text(text)
    return path


def test_each_leaf_without_a_value_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raywce.cluster.connect.connect", lambda: pytest.fail("no cluster may be asked for"))
    result = CliRunner().invoke(app, ["train", str(file)])
    assert isinstance(result.exception, InputError)
    paths = [problem.path for problem in result.exception.problems]
    assert paths == ["weighting.alpha", "training.optimizer.learning_rate"]


def test_a_folder_with_another_files_run_is_refused_before_a_cluster_is_asked_for(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raywce.cluster.connect.connect", lambda: pytest.fail("no cluster may be asked for"))
    values = ["weighting.alpha=2", "training.optimizer.learning_rate=1e-5", f"storage={tmp_path / 'runs'}"]
    RunFolder.of(str(tmp_path / "runs"), "small").open(load(file, values).resolved_yaml())
    result = CliRunner().invoke(app, ["train", str(file), *values, "training.steps=2"])
    assert isinstance(result.exception, InputError)
    assert "training.steps: must be 1, as in " in str(result.exception)


def test_the_demo_corpus_is_generated_before_a_cluster_is_asked_for(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("espeakng_loader")

    def generate(folder: Path, **options: object) -> SimpleNamespace:
        shutil.copytree(tmp_path / "data", folder)
        return SimpleNamespace(utterances=10)

    def connect() -> None:
        assert speech.is_dir()
        raise RunFailed("the cluster is asked for")

    monkeypatch.setattr("raywce.demo.corpus.prepare_corpus", generate)
    monkeypatch.setattr("raywce.cluster.connect.connect", connect)
    speech = Path(speech_path(SIX_LANGUAGES, tmp_path / "cache"))
    values = ["weighting.alpha=2", "training.optimizer.learning_rate=1e-5", f"storage={tmp_path / 'runs'}"]
    values += [f"data.folder={SIX_LANGUAGES}", f"data.cache={tmp_path / 'cache'}"]
    result = CliRunner().invoke(app, ["train", str(file), *values])
    assert str(result.exception) == "the cluster is asked for"
    assert "generated 10 utterances in " in result.stderr
    assert result.stderr.endswith(f" s: {speech}\n")


def test_the_last_evaluation_can_be_read_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    low, high, watched = readable.LANGUAGES.values()
    rates = dict.fromkeys([*low, *high, *watched], 1.2345)
    original, last = Report(0, rates={"wer": {"gl": 1.5}}), Report(4, rates={"wer": rates, "cer": rates})
    metrics = Metrics("wer_normalized", True, tuple(low), tuple(rates))
    table = dev_table(original, last, metrics, watched)
    readable.check(
        readable.printed(monkeypatch, lambda: show_table("dev", table)),
        "language original WER WER change CER",
        "gl 150.00 123.45 -26.55 123.45",
        "pt 123.45 123.45",
        "yue* 123.45 123.45",
    )


def test_the_last_evaluation_has_each_languages_own_rate_first(monkeypatch: pytest.MonkeyPatch) -> None:
    low, high, watched = readable.LANGUAGES.values()
    wer, cer = (dict.fromkeys([*low, *high, *watched], rate) for rate in (1.2345, 0.4321))
    original, last = (Report(step, rates={"wer": wer, "cer": cer}) for step in (0, 4))
    metrics = Metrics("auto", True, ("gl", "yue"), tuple(wer))
    table = dev_table(original, last, metrics, watched)
    readable.check(
        readable.printed(monkeypatch, lambda: show_table("dev", table)),
        "language original WER or CER WER or CER change CER or WER",
        "gl WER 123.45 123.45 +0.00 43.21",
        "yue CER* 43.21 43.21 +0.00 123.45",
    )
