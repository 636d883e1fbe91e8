"""`raywce schema`: the experiment file's keys, as a JSON schema for editors or as Markdown tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Tables of the keys instead of the JSON schema.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it there; tables replace those of a Markdown file that has them."),
    ] = None,
) -> None:
    """Print the JSON schema of experiment files, for completion and checks in an editor."""
    from raywce.experiment import editor_schema, reference

    text = reference.as_markdown() if markdown else editor_schema.as_text()
    if out is None:
        typer.echo(text, nl=False)
        return
    if markdown:
        document = out.read_text(encoding="utf-8") if out.is_file() else ""
        text = reference.put_into(document, str(out))
    out.write_text(text, encoding="utf-8")
