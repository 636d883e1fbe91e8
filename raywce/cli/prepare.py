"""`raywce prepare`: speech of many forms into parquet that everything else reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from raywce.cli.figures import write_figures
from raywce.data.prepare.rows import RowOptions
from raywce.data.prepare.run import PrepareOptions, run
from raywce.data.prepare.sources import Format
from raywce.data.prepare.summary import GroupSummary, Prepared
from raywce.data.prepare.text import CLEAN_UPS
from raywce.data.prepare.writer import Progress
from raywce.demo.assets import checkpoint_path


def prepare(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Folders, files or Hub ids.")],
    out: Annotated[Path, typer.Option(help="Folder to write; run again to go on after an interrupt.")],
    form: Annotated[Format, typer.Option("--format", help="What the sources are.")] = Format.AUTO,
    language: Annotated[str | None, typer.Option(help="Where no column tells.")] = None,
    split: Annotated[str | None, typer.Option(help="Where no column, folder or file name tells.")] = None,
    text_column: Annotated[str | None, typer.Option(help="The transcript's, where not recognised.")] = None,
    config: Annotated[str | None, typer.Option(help="Configuration of a Hub dataset (gl_es).")] = None,
    revision: Annotated[str | None, typer.Option(help="Its revision (refs/convert/parquet).")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Reject transcripts beyond this Whisper's labels.")
    ] = None,
    clean_up: Annotated[
        list[str] | None, typer.Option(help=f"Change transcripts: {', '.join(CLEAN_UPS)}. Repeatable.")
    ] = None,
    cap: Annotated[int | None, typer.Option(help="Train utterances of each language, at most.")] = None,
    cap_to: Annotated[
        str | None, typer.Option(metavar="LANGUAGE", help="Cut each other language's train to this one's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes which rows a cap takes.")] = 0,
    max_seconds: Annotated[float, typer.Option(help="Longer audio is rejected; at most 30.")] = 30.0,
    jobs: Annotated[int, typer.Option(help="Worker processes; 0 means one for each CPU.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Start afresh in a folder prepared before.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the counts there too.")] = None,
) -> None:
    """Turn speech into parquet: one folder a split and language, 16 kHz FLAC, with what was left out and why.

    Reads Common Voice releases, audiofolders (metadata.csv), CSV/TSV/JSONL manifests, datasets of save_to_disk,
    parquet, and datasets of the Hub; parent folders of these too.
    """
    rows = RowOptions(language, split, text_column, tuple(clean_up or ()))
    jobs = jobs or os.cpu_count() or 1
    options = PrepareOptions(
        sources=tuple(sources),
        out=out,
        form=form,
        config=config,
        revision=revision,
        rows=rows,
        tokenizer=tokenizer and checkpoint_path(tokenizer, "--tokenizer"),
        cap=cap,
        cap_to=cap_to,
        seed=seed,
        max_seconds=max_seconds,
        jobs=jobs,
        overwrite=overwrite,
    )
    with _progress() as progress:
        prepared = run(options, progress)
    _show(prepared, out)
    write_figures(json_file, prepared.as_dict())


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, a line each tenth elsewhere."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = [*Bar.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn()]
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("rows read", total=None)
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of or None)


class _Lines:
    """Progress as plain lines: each tenth of a known number, each 100,000 of an unknown one."""

    def __init__(self) -> None:
        self._last = ("", 0)

    def __call__(self, what: str, done: int, of: int) -> None:
        step = (what, done * 10 // of if of else done // 100_000)
        if step != self._last and step[1]:
            typer.echo(f"{what}: {done}{f' of {of}' if of else ''}", err=True)
        self._last = step


def _show(prepared: Prepared, out: Path) -> None:
    """Print the table, the overlap and the sum that must add up."""
    from rich.console import Console

    if Console().is_terminal:
        Console().print(_table(prepared))
    else:
        for group in prepared.groups:
            typer.echo(_line(group))
    for overlap in prepared.overlap:
        speakers, sentences = _pairs(overlap.speakers), _pairs(overlap.sentences)
        typer.echo(f"{overlap.language} in more than one split: speakers {speakers}; sentences {sentences}")
    if prepared.mended_quotes:
        typer.echo(f"rows with an unbalanced quote read as they are written: {prepared.mended_quotes}")
    sums = f"{prepared.utterances} kept + {prepared.rejected} rejected + {prepared.capped} capped"
    typer.echo(f"{sums} = {prepared.rows} rows read, in {out}")


def _table(prepared: Prepared) -> object:
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in ("language", "split"):
        table.add_column(name)
    for name in ("rows", "kept", "hours", "speakers", "capped"):
        table.add_column(name, justify="right")
    table.add_column("rejected")
    for group in prepared.groups:
        numbers = (group.rows, group.utterances, f"{group.hours:.3f}", group.speakers, group.capped)
        table.add_row(group.language, group.split, *map(str, numbers), _reasons(group))
    return table


def _line(group: GroupSummary) -> str:
    kept = f"{group.utterances} kept of {group.rows}, {group.hours:.3f} h, {group.speakers} speakers"
    capped = f", {group.capped} capped" if group.capped else ""
    return f"{group.language} {group.split}: {kept}{capped}, rejected: {_reasons(group)}"


def _reasons(group: GroupSummary) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in group.rejected.items())
    return counts or "none"


def _pairs(pairs: dict[str, int]) -> str:
    return ", ".join(f"{count} in {pair}" for pair, count in pairs.items() if count) or "none"
