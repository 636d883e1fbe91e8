"""`raywce search`: the baseline and the trials of an experiment file, and their outcome."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raywce.cli.figures import write_figures
from raywce.errors import one_line

if TYPE_CHECKING:
    from raywce.runs.folder import RunFolder


def search(
    file: Annotated[Path, typer.Argument(help="Experiment file with distributions.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the file, as key.path=value.", metavar="[KEY=VALUE]...")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume a search that stopped; never start one.")] = False,
    open_test_again: Annotated[
        bool,
        typer.Option("--open-test-again", help="Open the test splits even if opened before; this is recorded."),
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the outcome's figures to this file.")] = None,
) -> None:
    """Search for the hyperparameters with the lowest low-resource WER (or CER) within the limits of other languages.

    Exit codes: 0 a feasible trial was found, and confirmed if the file has a confirm phase; 3 none was, or the winner
    breaks a limit of robustness; 2 bad input; 1 failed or interrupted. Run the same command to resume a search that
    stopped; a finished one is not changed.
    """
    from raywce.experiment.load import load

    loaded = load(file, overrides or [])
    loaded.require_space()
    from raywce.demo.generate import provide_speech
    from raywce.runs.folder import RunFolder
    from raywce.runs.json_files import read_outcome
    from raywce.screen.outcome import show_outcome
    from raywce.search.phases import is_finished, run_search

    folder = RunFolder.of(loaded.experiment.storage, loaded.experiment.name)
    if is_finished(loaded, folder, resume, open_test_again):
        typer.echo(f"This search is finished; nothing was changed in {folder.uri}")
        found = read_outcome(folder)
        assert found is not None
        write_figures(json, found.figures())
        raise typer.Exit(found.exit_code)
    for note in loaded.notes:
        typer.echo(f"Note: {note}")
    provide_speech(Path(loaded.experiment.data.folder))
    outcome = run_search(loaded, open_test_again=open_test_again)
    show_outcome(outcome)
    _write_report(folder)
    write_figures(json, outcome.figures())
    raise typer.Exit(outcome.exit_code)


def _write_report(folder: RunFolder) -> None:
    """Write the page into the run folder; a finished search does not fail without it."""
    from raywce.report.write import make_report, write_page

    try:
        typer.echo(f"report: {write_page(make_report(folder))}")
    except Exception as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        typer.echo(f"No report was written ({reason}). Run `raywce report {folder.uri}` to try again.")
