"""`raywce search`: baseline and trials of an experiment file, and what came of them."""

from __future__ import annotations

from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raywce.cli.figures import write_figures

if TYPE_CHECKING:
    from raywce.run_folder import RunFolder


def search(
    file: Annotated[Path, typer.Argument(help="Experiment file with distributions.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the file, as key.path=value.", metavar="[KEY=VALUE]...")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with a search that stopped; refuse to begin one.")] = False,
    open_test_again: Annotated[
        bool, typer.Option(help="Open the test splits though they were opened before; it is recorded.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the outcome's figures to this file.")] = None,
) -> None:
    """Search for the hyperparameters with the lowest low-resource WER that keep the high-resource languages.

    Exit codes: 0 a feasible trial was found, and confirmed where the file has a confirm phase, 3 none was, 2 bad
    input, 1 failed. The same command goes on with a search that stopped, and changes nothing where it is finished.
    """
    from raywce.experiment.load import load

    loaded = load(file, overrides or [])
    loaded.require_space()
    from raywce.demo.assets import provide_speech
    from raywce.run_folder import OUTCOME, RunFolder
    from raywce.search.phases import is_finished, run_search
    from raywce.search.view import show_outcome

    folder = RunFolder.of(loaded.experiment.storage, loaded.experiment.name)
    if is_finished(loaded, folder, resume, open_test_again):
        typer.echo(f"This search is finished; nothing was changed in {folder.uri}")
        figures = loads(folder.read_text(OUTCOME))
        write_figures(json, figures)
        raise typer.Exit(figures["exit_code"])
    for note in loaded.notes:
        typer.echo(f"Note: {note}")
    provide_speech(Path(loaded.experiment.data.folder))
    outcome = run_search(loaded, open_test_again=open_test_again)
    show_outcome(outcome)
    _write_report(folder)
    write_figures(json, loads(outcome.to_json()))
    raise typer.Exit(outcome.exit_code)


def _write_report(folder: RunFolder) -> None:
    """The page into the run folder; without it a search that is through has not failed."""
    from raywce.report.write import make_report, write_page

    try:
        typer.echo(f"report: {write_page(make_report(folder))}")
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        typer.echo(f"No report was written ({reason}); `raywce report {folder.uri}` tries again.")
