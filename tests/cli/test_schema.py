from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from raywce.cli import app
from raywce.experiment.editor_schema import as_text


def test_the_schema_is_printed_or_written(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    assert CliRunner().invoke(app, ["schema"]).stdout == as_text()
    assert CliRunner().invoke(app, ["schema", "--out", str(file)]).exit_code == 0
    assert file.read_text() == as_text()
