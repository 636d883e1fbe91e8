"""`raywce init`: an experiment file to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    name: Annotated[str | None, typer.Argument(help="The starter file; without it, all are listed.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Prepared speech, whose languages are filled in (own-speech)."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it; never over another.")] = None,
) -> None:
    """Write a commented experiment file to begin with."""
    from raywce.errors import fail
    from raywce.experiment.starters import OWN_SPEECH, find_speech, names, starter
    from raywce.screen.console import show_fields

    if name is None and data is None:
        if out:
            fail("NAME", "must say which file to write", do=f"Known: {', '.join(names())}")
        show_fields(list(names().items()))
        return
    name, speech = name or OWN_SPEECH, find_speech(data) if data else None
    target = out or Path(f"{name.replace('-', '_')}.yaml")
    text = starter(name, target, speech)
    if target.exists():
        fail("--out", "must be a new file", str(target), "Name another, or remove that one")
    target.write_text(text, encoding="utf-8")
    if speech and speech.left_out:
        typer.echo(f"warning: left out, as they have no dev split: {', '.join(speech.left_out)}", err=True)
    typer.echo(f"{target} written; next: raywce validate {target}")
