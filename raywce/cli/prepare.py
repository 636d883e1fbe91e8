"""`raywce prepare`: conversion of speech in many formats to the parquet that all other commands read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from loky import cpu_count
from rich.table import Table

from raywce import numbers
from raywce.assets import checkpoint_path
from raywce.cli.figures import write_figures
from raywce.data.prepare.forms import Format
from raywce.data.prepare.rows import CLEAN_UPS, RowOptions
from raywce.data.prepare.run import PrepareOptions, run
from raywce.data.prepare.summary import RESCALED, Prepared, Reason
from raywce.data.prepare.writer import Progress
from raywce.errors import Problems
from raywce.screen.console import plain_table, show_table
from raywce.storage.prepared_folder import PREPARED

_LINES = 50  # files passed over, texts that are no language
_REMARKS = {
    Reason.SILENT: "wholly silent",
    Reason.CLIPPED: "heavily clipped",
    RESCALED: "divided to fit full scale",
}


def prepare(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Folders, files or Hub ids.")],
    out: Annotated[Path, typer.Option(help="Folder to write; run again to resume after an interrupt.")],
    form: Annotated[
        Format, typer.Option("--format", metavar="FORMAT", help=f"Format of the sources: {', '.join(Format)}.")
    ] = Format.AUTO,
    language: Annotated[str | None, typer.Option(help="Language, where no column has it.")] = None,
    split: Annotated[str | None, typer.Option(help="Split, where no column, folder or file name has it.")] = None,
    language_map: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WRITTEN=CODE",
            help="Code for what a column, folder or file name says (zh-HK=yue); keeps varieties apart. Repeatable.",
        ),
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the transcript, where not recognised.")] = None,
    config: Annotated[str | None, typer.Option(help="Configuration of a Hub dataset (gl_es).")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a Hub dataset (refs/convert/parquet).")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Reject transcripts that are too long for this Whisper.")
    ] = None,
    clean_up: Annotated[
        list[str] | None, typer.Option(help=f"Clean up transcripts: {', '.join(CLEAN_UPS)}. Repeatable.")
    ] = None,
    cap: Annotated[int | None, typer.Option(help="Most train utterances of a language.")] = None,
    cap_to: Annotated[
        str | None, typer.Option(metavar="LANGUAGE", help="Cap every language at the train utterances of this one.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice of rows under a cap.")] = 0,
    max_seconds: Annotated[float, typer.Option(help="Reject longer audio; at most 30.")] = 30.0,
    reject_silent: Annotated[
        bool,
        typer.Option("--reject-silent", help="Reject wholly silent and heavily clipped audio; else only count it."),
    ] = False,
    jobs: Annotated[int, typer.Option(help="Worker processes; 0: one for each CPU.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start again in a folder prepared before.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the counts to this file.")] = None,
) -> None:
    """Convert speech to parquet: a folder for each split and language, 16 kHz FLAC, with all rejected rows and why.

    Reads Common Voice releases, audiofolders (metadata.csv), CSV/TSV/JSON manifests, datasets of save_to_disk,
    parquet, and datasets of the Hub, and parent folders of all these. Files that nothing is read from are named.
    """
    rows = RowOptions(language, split, text_column, tuple(clean_up or ()), _language_map(language_map or []))
    jobs = jobs or cpu_count()
    tokenizer = tokenizer and checkpoint_path(tokenizer, "--tokenizer")
    options = PrepareOptions(
        sources=tuple(sources),
        out=out,
        form=form,
        config=config,
        revision=revision,
        rows=rows,
        tokenizer=tokenizer,
        cap=cap,
        cap_to=cap_to,
        seed=seed,
        max_seconds=max_seconds,
        reject_silent=reject_silent,
        jobs=jobs,
        overwrite=overwrite,
    )
    with _progress() as progress:
        prepared = run(options, progress)
    show_counts(prepared, out)
    write_figures(json_file, asdict(prepared))


def _language_map(pairs: list[str]) -> dict[str, str]:
    """Return the codes by what is written.

    Raises:
        InputError: pairs without `=`, or with nothing on a side of it.
    """
    problems = Problems()
    split = [tuple(part.strip() for part in pair.rpartition("=")) for pair in pairs]
    for pair, (written, _, code) in zip(pairs, split, strict=True):
        if not (written and code):
            problems.add("--language-map", "must be WRITTEN=CODE", pair, "Example: zh-HK=yue.")
    problems.raise_any()
    return {written: code for written, _, code in split}


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show a bar on a terminal, a line for each tenth elsewhere."""
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
    """Progress as plain lines: for each tenth of a known number, for each 100,000 of an unknown one."""

    def __init__(self) -> None:
        self._last = ("", 0)

    def __call__(self, what: str, done: int, of: int) -> None:
        step = (what, done * 10 // of if of else done // 100_000)
        if step != self._last and step[1]:
            typer.echo(f"{what}: {done}{f' of {of}' if of else ''}", err=True)
        self._last = step


def show_counts(prepared: Prepared, out: Path) -> None:
    """Print the tables, the overlap of the splits, what was merged or passed over, and the sum of all rows."""
    show_table("Rows by language and split", _counts(prepared))
    if prepared.rejected:
        show_table("Rejected rows by reason", _reasons(prepared))
    for line in _remarks(prepared):
        typer.echo(line)
    for overlap in prepared.overlap:
        found = ("speakers", overlap.speakers), ("sentences", overlap.sentences), ("recordings", overlap.recordings)
        shown = "; ".join(f"{name} {_pairs(shared)}" for name, shared in found)
        typer.echo(f"{overlap.language} in more than one split: {shown}")
    if prepared.unbalanced_quotes:
        typer.echo(f"rows with an unbalanced quote read as they are written: {prepared.unbalanced_quotes}")
    _show_languages(prepared)
    for group in prepared.passed_over[:_LINES]:
        typer.echo(f"passed over: {group.place}: {group.reason}")
    more = len(prepared.passed_over) - _LINES
    if more > 0:
        typer.echo(f"passed over: {more} more groups of files, all in {out / PREPARED}")
    sums = f"{prepared.utterances} kept + {prepared.rejected} rejected + {prepared.capped} capped"
    typer.echo(f"{sums} = {prepared.rows} rows read, in {out}")


def _show_languages(prepared: Prepared) -> None:
    for language, rows in prepared.merged_languages.items():
        told = ", ".join(f"{written} ({count} rows)" for written, count in rows.items())
        typer.echo(f"read as one language, {language}: {told}; --language-map WRITTEN=CODE keeps them apart")
    for what, unread in {"language": prepared.unread_languages, "split": prepared.unread_splits}.items():
        for written, count in list(unread.items())[:_LINES]:
            typer.echo(
                f"no {what}: {written!r} in the column of {count} rows; an option, a name or a folder counts instead"
            )


def _counts(prepared: Prepared) -> Table:
    headings = ("rows", "kept", "hours", "speakers", "capped", "rejected")
    table = plain_table("language", "split", *headings, text=("split",))
    for group in prepared.groups:
        counts = (group.rows, group.utterances, numbers.hours(group.hours), group.speakers, group.capped)
        table.add_row(group.language, group.split, *map(str, counts), str(sum(group.rejected.values())))
    return table


def _reasons(prepared: Prepared) -> Table:
    table = plain_table("language", "split", "rows", "reason", text=("split", "reason"))
    for group in prepared.groups:
        for reason, count in group.rejected.items():
            table.add_row(group.language, group.split, str(count), reason)
    return table


def _remarks(prepared: Prepared) -> Iterator[str]:
    """Yield a line for each group with utterances that were kept and deserve a look."""
    for group in prepared.groups:
        found = [f"{count} {_REMARKS[remark]}" for remark, count in group.remarks.items()]
        if found:
            do = "" if set(group.remarks) == {RESCALED} else " (--reject-silent rejects the silent and clipped)"
            yield f"{group.language} {group.split}, of those kept: {', '.join(found)}{do}"


def _pairs(pairs: dict[str, int]) -> str:
    return ", ".join(f"{count} in {pair}" for pair, count in pairs.items() if count) or "none"
