"""The command as typed: exit codes, one-line errors, what is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raywce.assets import checkpoint_path
from raywce.cli import main
from raywce.cli.prepare import show_counts
from raywce.data.prepare.summary import GroupSummary, Prepared
from tests.data.conftest import tone
from tests.screen import readable


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    import soundfile

    for language, split, count in (("gl", "train", 2), ("gl", "dev", 1), ("es", "train", 4)):
        folder = tmp_path / "speech" / language / split
        folder.mkdir(parents=True)
        lines = ["file_name,sentence,speaker"]
        for index in range(count):
            soundfile.write(folder / f"{index}.flac", tone(0.4), 16_000)
            lines.append(f"{index}.flac,frase {language} {index},s{index}")
        (folder / "metadata.csv").write_text("\n".join([*lines, "gone.flac,falta,s0"]) + "\n")
    return tmp_path / "speech"


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["raywce", "prepare", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_prints_counts_that_add_up(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, counts = tmp_path / "out", tmp_path / "counts.json"
    code = command(monkeypatch, speech, "--out", out, "--cap-to", "gl", "--jobs", 1, "--json", counts)
    printed = capsys.readouterr().out
    assert code == 0
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "gl train 3 2 0.00 2 0 1" in lines
    assert "gl train 1 missing_file" in lines
    assert "gl in more than one split: speakers 1 in train+dev; sentences 1 in train+dev; recordings" in printed
    kept, rejected, capped = (json.loads(counts.read_text())[n] for n in ("utterances", "rejected", "capped"))
    assert kept + rejected + capped == 10
    assert f"{kept} kept + {rejected} rejected + {capped} capped = 10 rows read" in printed
    assert pq.read_table(out / "train/es/").num_rows == 2


def test_what_was_merged_or_passed_over_is_printed(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (speech / "gl").rename(speech / "pt-BR")
    (speech / "es").rename(speech / "pt_pt")
    (speech / "pt_pt/train/9.flac").touch()
    assert command(monkeypatch, speech, "--out", tmp_path / "out", "--jobs", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        "read as one language, pt: pt-BR (5 rows), pt_pt (5 rows); --language-map WRITTEN=CODE keeps them apart"
        in lines
    )
    assert f"passed over: {speech}/pt_pt/train/9.flac: audio that no row of a table names" in lines
    arguments = ["--language-map", "pt_PT=pt-PT", "--language-map", "pt-BR=pt"]
    assert command(monkeypatch, speech, "--out", tmp_path / "two", "--jobs", 1, *arguments) == 0
    assert (tmp_path / "two/train/pt-PT").is_dir()
    assert "read as one language" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/not/there"], "/not/there: must be a folder, a file or a Hub id"),
        (["{speech}", "--format", "common-voice"], "but got nothing of the form common-voice"),
        (["{speech}", "--format", "tape"], "'tape' is not one of"),
        (["{speech}", "--language", "no such one"], "--language: must be a language code"),
        (["{speech}", "--cap", "0"], "--cap: must be at least 1"),
        (["{speech}", "--tokenizer", "demo:whisper"], "--tokenizer: must be demo:micro-whisper"),
        (["{speech}", "--text-column", "words"], "Name it with --text-column"),
        (["{speech}", "--language-map", "zh-HK"], "--language-map: must be WRITTEN=CODE, but got zh-HK"),
        (["{speech}", "--language-map", "x=no one"], "--language-map: must map to a language's code, but got x=no one"),
    ],
)
def test_bad_input_is_exit_code_2_without_a_stack_trace(
    speech: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    filled = [argument.format(speech=speech) for argument in arguments]
    code = command(monkeypatch, *filled, "--out", tmp_path / "out", "--jobs", 1)
    printed = capsys.readouterr()
    assert code == 2
    assert said in " ".join(printed.err.split())
    assert "Traceback" not in printed.err + printed.out


def test_the_micro_whisper_may_be_the_tokenizer(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = tmp_path / "counts.json"
    limits = []

    def no_limit(model: str, save_to: Path) -> None:
        limits.append(model)

    monkeypatch.setattr("raywce.data.prepare.run.load_label_limit", no_limit)
    arguments = [speech, "--out", tmp_path / "out", "--jobs", 1, "--tokenizer", "demo:micro-whisper", "--json", counts]
    assert command(monkeypatch, *arguments) == 0
    assert limits == [checkpoint_path("demo:micro-whisper")]
    assert json.loads(counts.read_text())["settings"]["tokenizer"] == limits[0]


def test_help_names_every_form(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert command(monkeypatch, "--help") == 0
    printed = capsys.readouterr().out
    for form in ("common-voice", "audiofolder", "manifest", "saved-dataset", "parquet", "hub"):
        assert form in printed


def test_an_ascii_locale_reads_and_writes_names_in_utf8(speech: Path, tmp_path: Path) -> None:
    folder = (speech / "gl").rename(speech / "gl, mañá") / "train"
    (folder / "0.flac").rename(folder / "e\u0301.flac")
    (folder / "metadata.csv").write_text("file_name,sentence\n\u00e9.flac,á\nnon é.flac,un\n", encoding="utf-8")
    arguments = [sys.executable, "-m", "raywce", "prepare", str(folder), "--out", str(tmp_path / "ó"), "--language=gl"]
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([*arguments, "--jobs=1"], env=os.environ | ascii_only, capture_output=True, check=False)
    assert (done.returncode, done.stderr.count(b"Traceback")) == (0, 0)
    assert pq.read_table(tmp_path / "ó/train/gl/00000.parquet")["id"].to_pylist() == ["train/\u00e9"]
    (row,) = pq.read_table(tmp_path / "ó/rejected.parquet").to_pylist()
    assert (row["reason"], row["detail"]) == ("missing_file", str(folder / "non é.flac"))


def test_remarks_on_what_was_kept_are_printed_by_group(capsys: pytest.CaptureFixture[str]) -> None:
    remarks = {"clipped": 2, "rescaled": 3, "silent": 1}
    groups = (
        GroupSummary("train", "gl", 9, 9, 0.1, 0, {}, 0, remarks),
        GroupSummary("dev", "gl", 9, 9, 0.1, 0, {}, 0, {"rescaled": 4}),
        GroupSummary("test", "gl", 9, 9, 0.1, 0, {}, 0),
    )
    show_counts(Prepared(27, 27, 0, 0, 0, groups, (), (), {}, {}, {}, {}), Path("out"))
    lines = [line for line in capsys.readouterr().out.splitlines() if "of those kept" in line]
    assert lines == [
        "gl train, of those kept: 2 heavily clipped, 3 divided to fit full scale, 1 wholly silent "
        "(--reject-silent rejects the silent and clipped)",
        "gl dev, of those kept: 4 divided to fit full scale",
    ]


def test_the_counts_can_be_read_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    rejected = {"label_too_long": 12_345, "truncated_audio": 1}
    languages = [language for of in readable.LANGUAGES.values() for language in of]
    groups = tuple(
        GroupSummary("train", language, 1_234_567, 1_234_567, 12_345.678, 123_456, rejected, 12_345)
        for language in languages
    )
    prepared = Prepared(7_407_402, 7_407_402, 74_076, 74_070, 0, groups, (), (), {}, {}, {}, {})
    lines = readable.printed(monkeypatch, lambda: show_counts(prepared, Path("out")))
    readable.check(
        lines,
        "language split rows kept hours speakers capped rejected",
        "pt train 1234567 1234567 12345.68 123456 12345 12346",
        "pt train 12345 label_too_long",
    )
