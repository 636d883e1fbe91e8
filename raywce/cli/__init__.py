"""The command line: one module for each command, thin adapters over the rest.

Modules of commands import torch, Ray and transformers inside their functions, so that `raywce --help` is quick.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

import raywce
from raywce.cli import average, evaluate, export, init, prepare, profile, report, schema, search, train, validate
from raywce.errors import InputError, RunFailed, one_line

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes

app = typer.Typer(name="raywce", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for _command in (
    init.init,
    prepare.prepare,
    validate.validate,
    profile.profile,
    train.train,
    search.search,
    evaluate.evaluate,
    report.report,
    average.average,
    export.export,
    schema.schema,
):
    app.command()(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"raywce {raywce.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Search for the weighted cross-entropy that improves a low-resource language in Whisper."""


def main() -> None:
    """The `raywce` command; its exit code is 0, 1 for a failed run, 2 for bad input, 130 if interrupted."""
    _use_utf8()
    try:
        app()
    except InputError as error:
        _leave(_listed(error), BAD_INPUT)
    except RunFailed as error:
        _leave(one_line(f"failed: {error}"), FAILED)
    except SystemExit as leave:
        # Typer turns Ctrl-C into this code and prints nothing.
        if leave.code == INTERRUPTED:
            _leave("interrupted", INTERRUPTED)
        raise
    except OSError as error:
        _leave(f"{error.filename}: {error.strerror}" if error.filename else str(error), FAILED)
    except Exception as error:
        if os.environ.get("RAYWCE_DEBUG"):
            raise
        _leave(one_line(f"{type(error).__name__}: {error} (RAYWCE_DEBUG=1 shows the trace)"), FAILED)


def _use_utf8() -> None:
    """Read arguments, file names and files as UTF-8 in any locale, and print what a terminal lacks as escapes.

    The encoding of a process is fixed at its start: in another locale the command starts again in Python's UTF-8 mode,
    which its own processes inherit.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, sys.orig_argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _listed(error: InputError) -> str:
    count = len(error.problems)
    heading = "1 problem:" if count == 1 else f"{count} problems:"
    return "\n".join([heading, *(f"  {one_line(problem)}" for problem in error.problems)])


def _leave(text: str, code: int) -> None:
    print(f"raywce: {text}", file=sys.stderr)
    sys.exit(code)
