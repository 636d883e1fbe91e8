from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import jiwer
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raywce import cli
from raywce.assets import speech_path
from raywce.cli.evaluate import METRICS, show_rates
from raywce.cluster.decode import run_evaluation
from raywce.errors import RunFailed
from raywce.evaluation.evaluate import Evaluation
from raywce.evaluation.normalizer import words
from raywce.runs.folder import RunFolder
from raywce.runs.test_openings import openings
from tests.evaluation.talking_whisper import write_talking_whisper
from tests.screen import readable
from tests.tiny_corpus import write_tiny_corpus

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talking_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_corpus(tmp_path_factory.mktemp("data"), {"gl": 1, "es": 1}, {"gl": 3, "es": 2})


@pytest.fixture
def run(model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the command on the tiny model and corpus; gives its exit code."""

    def command(*options: object, model: object = model, data: object = data) -> int:
        given = ["evaluate", model, "--data", data, "--cache", tmp_path / "cache", *options]
        monkeypatch.setattr(sys, "argv", ["raywce", *map(str, given)])
        with pytest.raises(SystemExit) as leave:
            cli.main()
        return int(leave.value.code or 0)

    return command


def test_figures_are_those_of_jiwer_over_the_rows_kept(run, model, data, tmp_path: Path, capsys) -> None:
    out, figures_file = tmp_path / "new" / "utterances.parquet", tmp_path / "figures.json"
    assert run("--out", out, "--json", figures_file) == 0
    table, figures = pq.read_table(out), json.loads(figures_file.read_text())
    assert table.schema.metadata[b"normalizer"] == b"words/4"
    assert (figures["model"], figures["data"], figures["split"]) == (str(model), str(data), "dev")
    assert figures["normalizer"] == "words/4"
    assert figures["versions"]["transformers"]
    assert {name: rates["utterances"] for name, rates in figures["languages"].items()} == {"es": 2, "gl": 3}
    for language, rates in figures["languages"].items():
        rows = [row for row in table.to_pylist() if row["language"] == language]
        references, hypotheses = ([row[name] for row in rows] for name in ("reference", "hypothesis"))
        assert rates["wer_raw"] == pytest.approx(jiwer.wer(references, hypotheses))
        normalized = [list(map(words, texts)) for texts in (references, hypotheses)]
        assert rates["wer_normalized"] == pytest.approx(jiwer.wer(*normalized))
        assert rates["cer_normalized"] == pytest.approx(jiwer.cer(*normalized))
    assert all(table["hypothesis"].to_pylist())
    assert figures["languages"]["es"]["cer_raw"] != figures["languages"]["gl"]["cer_raw"]
    mean = sum(rates["wer_raw"] for rates in figures["languages"].values()) / 2
    assert figures["macro_mean"]["wer_raw"] == pytest.approx(mean)
    printed = capsys.readouterr()
    assert "words/4" in printed.out
    lines = [line.split() for line in printed.out.splitlines()]
    assert ["total", "5"] in [line[:2] for line in lines]
    (means,) = [line for line in lines if line[:2] == ["macro", "mean"]]
    assert f"{100 * mean:.2f}" in means
    assert "decoded 5 of 5 utterances" in printed.err


def test_wanted_languages_split_and_normaliser(run, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    options = ["--language", "gl", "--split", "test", "--normalizer", "whisper_basic", "--precision", "bf16"]
    assert run(*options, "--json", file) == 0
    figures = json.loads(file.read_text())
    assert list(figures["languages"]) == ["gl"]
    assert (figures["split"], figures["normalizer"], figures["precision"]) == ("test", "whisper_basic/1", "bf16")


def test_a_language_without_token_takes_anothers(run, tmp_path: Path, capsys) -> None:
    data = write_tiny_corpus(tmp_path / "asturian", {"ast": 1}, {"ast": 2})
    assert run(data=data) == 2
    assert "--language-token ast=es" in capsys.readouterr().err
    out = tmp_path / "rows.parquet"
    assert run("--language-token", "AST=es", data=data) == 2
    assert "--language-token: must be of a language that is decoded, but got AST. Known: ast" in capsys.readouterr().err
    assert run("--language-token", "ast=es", "--out", out, data=data) == 0
    assert pq.read_table(out)["language_token"].to_pylist() == ["es", "es"]


def test_all_that_is_wrong_is_said_at_once(run, tmp_path: Path, capsys) -> None:
    options = ["--language", "gl", "--language", "pt", "--precision", "int8", "--normalizer", "english"]
    options += ["--workers", 0, "--batch-size", 0, "--language-token", "ast", "--out", tmp_path]
    options += ["--encoder-context", "short", "--context-margin", -1]
    assert run(*options) == 2
    printed = capsys.readouterr()
    expected = ["dev/pt/*.parquet", "--precision", "int8", "--normalizer", "english", "--workers", "--batch-size"]
    expected += ["--language-token", "--language: must have a token", "the folder"]
    expected += ["--encoder-context: must be one of full, batch, but got short", "--context-margin: must be at least 0"]
    assert [text for text in expected if text not in printed.err] == []
    assert "Traceback" not in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("what", ["model", "data"])
def test_a_folder_that_is_not_there(run, tmp_path: Path, what: str, capsys) -> None:
    assert run(**{what: tmp_path / "missing"}) == 2
    assert str(tmp_path / "missing") in capsys.readouterr().err


def test_a_split_that_is_not_there(run, tmp_path: Path, capsys) -> None:
    assert run("--split", "train") == 2
    assert "--split: must be dev or test, but got train" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(data=tmp_path / "empty") == 2
    assert "must hold dev/<language>/*.parquet" in capsys.readouterr().err


def test_a_damaged_file_of_the_speech_is_named(run, data: Path, tmp_path: Path, capsys) -> None:
    copy = shutil.copytree(data, tmp_path / "copy")
    file = sorted((copy / "dev" / "gl").glob("*.parquet"))[0]
    file.write_bytes(file.read_bytes()[:-100])
    assert run(data=copy) == 2
    assert f"{file}: must be a parquet file" in capsys.readouterr().err


@pytest.fixture
def generated(data, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders into which a demo corpus was generated: here a copy of the tiny one."""
    pytest.importorskip("espeakng_loader")
    folders: list[Path] = []

    def generate(folder: Path, **options: object) -> SimpleNamespace:
        shutil.copytree(data, folder)
        folders.append(folder)
        return SimpleNamespace(utterances=15)

    monkeypatch.setattr("raywce.demo.corpus.prepare_corpus", generate)
    return folders


def test_the_demo_corpus_is_generated_for_its_name(run, generated, tmp_path: Path, capsys) -> None:
    file = tmp_path / "figures.json"
    for _ in range(2):
        assert run("--split", "test", "--language", "gl", "--json", file, data="demo:six-languages") == 0
    assert len(generated) == 1
    assert "generating the demo corpus" in capsys.readouterr().err
    figures = json.loads(file.read_text())
    assert figures["data"] == speech_path("demo:six-languages", tmp_path / "cache")
    assert figures["languages"]["gl"]["utterances"] == 3


def test_nothing_is_generated_for_what_can_not_be_evaluated(run, generated, tmp_path: Path, capsys) -> None:
    options = ["--split", "tets", "--language", "it", "--language-token", "it=es", "--workers", 0]
    assert run(*options, data="demo:six-languages") == 2
    printed = capsys.readouterr().err
    assert [text for text in ("tets", "got it", "--workers") if text not in printed] == []
    assert run(data="demo:speech", model="demo:micro-whisper") == 2
    assert "--data: must be demo:six-languages" in capsys.readouterr().err
    assert run(data="demo:six-languages", model="demo:whisper") == 2
    assert "MODEL: must be demo:micro-whisper" in capsys.readouterr().err
    assert generated == []


def test_a_runs_test_split_is_opened_once_and_that_is_recorded(run, model: Path, tmp_path: Path, capsys) -> None:
    folder = RunFolder.of(str(tmp_path), "run")
    folder.open("name: run\n")
    trained = shutil.copytree(model, folder.local / "model")
    options = ["--split", "test", "--language", "gl"]
    assert run("--language", "gl", model=trained) == 0  # dev
    assert not openings(folder)
    assert run(*options, model=trained) == 0
    assert run(*options, model=trained) == 2
    assert "must be opened only once in a run" in capsys.readouterr().err
    assert run(*options, "--open-test-again", model=trained) == 0
    assert [(opening["command"], opening["again"]) for opening in openings(folder)] == [
        ("raywce evaluate", False),
        ("raywce evaluate", True),
    ]
    assert run(*options) == 0  # a model of no run


def test_the_encoder_context_is_an_option(run, tmp_path: Path) -> None:
    texts, file = {}, tmp_path / "figures.json"
    for context in ("full", "batch"):
        out = tmp_path / f"{context}.parquet"
        assert run("--encoder-context", context, "--out", out, "--json", file) == 0
        assert json.loads(file.read_text())["encoder_context"] == context
        texts[context] = pq.read_table(out)["hypothesis"].to_pylist()
    assert texts["full"] != texts["batch"]
    out = tmp_path / "margin.parquet"
    assert run("--encoder-context", "batch", "--context-margin", 0, "--out", out, "--json", file) == 0
    assert json.loads(file.read_text())["context_margin"] == 0
    assert pq.read_table(out)["hypothesis"].to_pylist() not in texts.values()


def test_time_stamps_are_an_option(run, tmp_path: Path, capsys) -> None:
    file = tmp_path / "figures.json"
    assert run("--split", "dev", "--language", "gl", "--timestamps", "--json", file, "--out", tmp_path / "rows") == 0
    figures = json.loads(file.read_text())
    assert figures["timestamps"] is True
    rows = pq.read_table(tmp_path / "rows").to_pylist()
    share = sum(row["time_stamps_whole"] for row in rows) / len(rows)
    assert figures["languages"]["gl"]["time_stamps_whole"] == share
    assert "end off by s" in capsys.readouterr().out


def test_robustness_is_an_option(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    file = tmp_path / "figures.json"
    monkeypatch.setattr("raywce.evaluation.hard_cases.NOTHING_S", (0.1, 0.25, 1.0))
    assert run("--split", "dev", "--language", "gl", "--robustness", "--json", file) == 0
    figures = json.loads(file.read_text())
    assert figures["robustness"]["gl"]["clips"] == 6
    printed = capsys.readouterr().out
    assert "Silence and noise of 2 to 20 s" in printed
    assert all(text in printed for text in figures["said_to_nothing"])
    assert "Long-form speech: not measured" in printed
    # The tiny corpus has no minute of a speaker; decoding two of them takes one.
    monkeypatch.setattr("raywce.evaluation.hard_cases.PIECE_S", 0.1)
    monkeypatch.setattr("raywce.evaluation.hard_cases.long_form", lambda *_: lambda samples, language: "ola")
    assert run("--split", "dev", "--language", "gl", "--robustness", "--json", file) == 0
    found = json.loads(file.read_text())["robustness"]["gl"]
    assert found["pieces"] > 0
    assert set(found["long"]) == {"transformers"}, "the tiny vocabulary is none of faster-whisper's"
    assert "in sentences" in capsys.readouterr().out
    monkeypatch.setattr("raywce.export.convert.can_convert", lambda folder: True)
    monkeypatch.setattr("raywce.export.convert.long_form", lambda *_: lambda samples, language: language)
    assert run("--split", "dev", "--language", "gl", "--robustness", "--json", file) == 0
    assert set(json.loads(file.read_text())["robustness"]["gl"]["long"]) == {"transformers", "faster-whisper"}


def test_what_was_decoded_is_kept_where_the_hard_cases_fail(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def fail(evaluation: object) -> None:
        raise RunFailed("no room")

    monkeypatch.setattr("raywce.cli.evaluate._hard_cases", fail)
    out = tmp_path / "rows.parquet"
    assert run("--split", "dev", "--language", "gl", "--robustness", "--out", out) == 1
    assert "Rates in %" in capsys.readouterr().out
    assert pq.read_table(out).num_rows


def test_a_model_for_english_only_is_refused(run, capsys) -> None:
    assert run("--split", "dev", "--language", "gl", model="openai/whisper-tiny.en") == 2
    assert "MODEL: must be multilingual" in capsys.readouterr().err


def test_a_model_without_time_stamps_is_refused(run, tmp_path: Path, capsys) -> None:
    assert run("--split", "dev", "--language", "gl", "--timestamps", model="demo:micro-whisper") == 2
    assert "--timestamps: must be left out" in capsys.readouterr().err


def test_the_rates_can_be_read_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = SimpleNamespace(
        utterances=123_456,
        truncated=12_345,
        loops=1_234,
        stopped=123,
        time_stamps_whole=0.98765,
        time_stamps_error=12.345,
        **dict.fromkeys(METRICS, 1.2345),
    )
    rates = {language: rate for of in readable.LANGUAGES.values() for language in of}
    lines = readable.printed(monkeypatch, lambda: show_rates(rates, dict.fromkeys(METRICS, 1.2345), "whisper on dev"))  # type: ignore[arg-type]
    readable.check(
        lines,
        "language utterances truncated loops stopped",
        "total 987648 98760 9872 984",
        "language WER capped WER CER raw WER raw CER insertions identified",
        "language whole in % end off by s",
        "macro mean 123.45 123.45 123.45 123.45 123.45 123.45 123.45",
        "No spaces between words of yue: a WER counts phrases, the CER fits.",
    )


def test_all_workers_decode_hard_cases_too_on_one_cluster(run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bool, int]] = []
    connected: list[str] = []

    @contextmanager
    def connect() -> Iterator[None]:
        connected.append("begins")
        yield
        connected.append("ends")

    def decode(evaluation: Evaluation, workers: int, *_: object) -> pa.Table:
        asked.append((evaluation.hard_cases, workers))
        assert connected == ["begins"]
        return run_evaluation(evaluation)

    monkeypatch.setattr("raywce.cluster.decode.run_evaluation", decode)
    monkeypatch.setattr("raywce.cluster.connect.connect", connect)
    assert run("--split", "dev", "--language", "gl", "--robustness", "--workers", 2) == 0
    assert asked == [(False, 2), (True, 2)]
    assert connected == ["begins", "ends"]


def test_too_little_memory_is_one_line_with_what_to_lower(run, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("raywce.evaluation.evaluate.evaluate_utterances", full)
    assert run("--batch-size", 64) == 1
    said = "out of memory in decoding 64 utterances at once (encoder context: full): CUDA out of memory. Lower --batch"
    assert said in " ".join(capsys.readouterr().err.split())


def test_what_this_machine_s_card_lacks_is_said(run, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("raywce.precision.shortcoming", lambda precision, device: f"{device} has no {precision}")
    assert run("--precision", "bf16") == 0
    assert "warning" not in capsys.readouterr().err
    # With a GPU, as far as the command itself looks.
    monkeypatch.setattr("raywce.cluster.decode.run_evaluation", lambda *_: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    monkeypatch.setattr("raywce.cli.evaluate._report", lambda *_: None)
    assert run("--precision", "bf16") == 0
    assert "warning: cuda has no bf16" in capsys.readouterr().err
    assert os.environ.pop("PYTORCH_ALLOC_CONF") == "expandable_segments:True"
