"""`raywce report`: the outcome of a search as one HTML file, as JSON, and as tables on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from raywce.cli.figures import unwritable, write_figures


def report(
    run: Annotated[str, typer.Argument(help="Run folder of a search, finished or not; a path or a URI.")],
    out: Annotated[Path | None, typer.Option(help="Write the page to this file, not into the run folder.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures of the page to this file.")] = None,
) -> None:
    """Show the outcome of a search: tables here, and a page (report.html in the run folder) for any browser.

    Exit codes: 0 written; 2 the folder is not the run folder of a search, or can't be read; 1 failed.
    """
    from raywce.errors import Problems
    from raywce.report.write import make_report, write_page
    from raywce.runs.folder import RunFolder

    Problems(list(unwritable({"--out": out, "--json": json}))).raise_any()
    made = make_report(RunFolder.at(run))
    made.show()
    write_figures(json, made.figures.as_dict())
    typer.echo(f"report: {write_page(made, out)}")
