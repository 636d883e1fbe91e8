"""`raywce schema`: the experiment file's JSON schema, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there in place of printing it.")] = None,
) -> None:
    """Print the JSON schema of experiment files, for completion and checks in an editor."""
    from raywce.experiment.editor_schema import as_text

    if out:
        out.write_text(as_text(), encoding="utf-8")
    else:
        typer.echo(as_text(), nl=False)
