from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import soundfile
import typer
from typer.testing import CliRunner

import raywce
from raywce import cli
from raywce.cli import app
from raywce.errors import InputError, Problem, RunFailed
from tests.data.conftest import tone
from tests.screen import readable

COMMANDS = ("prepare", "validate", "profile", "train", "search", "evaluate", "report", "average", "export", "schema")
HEAVY = ("torch", "ray", "transformers", "datasets", "optuna")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "raywce", *arguments], capture_output=True, text=True, check=False)


def test_help_names_each_command_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['raywce', '--help']; from raywce.cli import main\n"
        "try: main()\n"
        f"except SystemExit: print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for command in COMMANDS:
        assert f" {command} " in done.stdout


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    "environment",
    [ASCII, {**ASCII, "PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}],
    ids=["locale", "locale and output", "output", "latin-1 output"],
)
def test_names_and_text_of_any_language_are_read_in_any_locale(tmp_path: Path, environment: dict[str, str]) -> None:
    speech = tmp_path / "fala ñ 日本"
    speech.mkdir()
    soundfile.write(speech / "á.flac", tone(0.5), 16_000)
    (speech / "metadata.csv").write_text("file_name,text\ná.flac,olá 世界\nnão.flac,x\n", encoding="utf-8")
    arguments = ["prepare", speech, "--out", tmp_path / "saída", "--language", "gl", "--split", "train", "--jobs", "1"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PYTHON"))}
    where = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = subprocess.run(
        [sys.executable, "-m", "raywce", *map(str, arguments)],
        capture_output=True,
        check=False,
        env=kept | where | environment,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    (file,) = (tmp_path / "saída" / "train" / "gl").iterdir()
    assert pq.read_table(file)["text"].to_pylist() == ["olá 世界"]
    rejected = pq.read_table(tmp_path / "saída" / "rejected.parquet").to_pylist()
    assert [(row["reason"], row["detail"]) for row in rejected] == [("missing_file", str(speech / "não.flac"))]


@pytest.mark.parametrize("environment", [ASCII, {"PYTHONIOENCODING": "ascii"}])
def test_a_message_of_any_language_is_printed_in_any_locale(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "raywce", "validate", "não 日本.yaml"],
        capture_output=True,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 2
    assert done.stderr.endswith(b".yaml: cannot be read: No such file or directory\n")


def test_version() -> None:
    assert run("--version").stdout == f"raywce {raywce.__version__}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["validate"], ["validate", "x.yaml", "--nonsense"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (
            InputError([Problem("a.b", "must be x", "y", "Do z")]),
            2,
            "raywce: 1 problem:\n  a.b: must be x, but got y. Do z\n",
        ),
        (InputError([Problem("a", "p"), Problem("b", "q\nr")]), 2, "raywce: 2 problems:\n  a: p\n  b: q r\n"),
        (RunFailed("no luck\nat all"), 1, "raywce: failed: no luck at all\n"),
        (KeyboardInterrupt(), 130, "raywce: interrupted\n"),
        (FileNotFoundError(2, "No such file", "a.txt"), 1, "raywce: a.txt: No such file\n"),
        (
            ZeroDivisionError("by zero"),
            1,
            "raywce: ZeroDivisionError: by zero (RAYWCE_DEBUG=1 shows the trace)\n",
        ),
        (typer.Exit(3), 3, ""),
    ],
)
def test_exit_codes_and_the_line_that_is_printed(
    error: BaseException,
    code: int,
    printed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fails() -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(sys, "argv", ["raywce"])
    monkeypatch.delenv("RAYWCE_DEBUG", raising=False)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == code
    assert capsys.readouterr().err == printed


def test_a_traceback_is_there_for_whoever_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fails() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(sys, "argv", ["raywce"])
    monkeypatch.setenv("RAYWCE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_can_be_read_at_80_columns(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(readable.COLUMNS))
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    readable.check(line for line in result.output.splitlines() if not line.lstrip().startswith("Usage:"))
