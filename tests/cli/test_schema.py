from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from raywce.cli import app
from raywce.experiment.editor_schema import as_text
from raywce.experiment.reference import BEGIN, END, as_markdown


def test_the_schema_is_printed_or_written(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    assert CliRunner().invoke(app, ["schema"]).stdout == as_text()
    assert CliRunner().invoke(app, ["schema", "--out", str(file)]).exit_code == 0
    assert file.read_text() == as_text()


def test_the_tables_are_printed_or_put_between_a_documents_markers(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(f"Above.\n{BEGIN}\n{END}\nBelow.\n")
    assert CliRunner().invoke(app, ["schema", "--markdown"]).stdout == as_markdown()
    assert CliRunner().invoke(app, ["schema", "--markdown", "--out", str(file)]).exit_code == 0
    assert file.read_text() == f"Above.\n{BEGIN}\n{as_markdown()}{END}\nBelow.\n"


def test_a_document_without_markers_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("Nothing to replace.\n")
    assert CliRunner().invoke(app, ["schema", "--markdown", "--out", str(file)]).exit_code
    assert file.read_text() == "Nothing to replace.\n"
