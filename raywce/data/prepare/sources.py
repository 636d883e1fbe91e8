"""Sources of speech: folders, files and Hub datasets, the tables in them, and what is passed over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from raywce.data.prepare.columns import NO_TABLE, check_columns
from raywce.data.prepare.file_names import suffix_of
from raywce.data.prepare.files import file_names, folders, is_audio, is_table
from raywce.data.prepare.forms import (
    ASK,
    OF_SAVED_DATASET,
    Candidate,
    FindOptions,
    Format,
    Table,
    candidate,
    candidates,
    chosen,
    placed,
)
from raywce.data.prepare.languages import read_language
from raywce.data.prepare.passed_over import PassedOverFiles
from raywce.data.prepare.splits import split_of
from raywce.data.prepare.tables import READERS
from raywce.errors import InputError, Problem, Problems, fail, first_line

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

_LISTED = 20  # files passed over, in an error


@dataclass(frozen=True)
class Found:
    """Tables of all sources.

    Attributes:
        tables: those to read: by what says their split, then in the order of the sources, parents first, by name.
        folders: the sources that are folders.
        passed_over: files that look like tables and are not read.
    """

    tables: list[Table] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    passed_over: PassedOverFiles = field(default_factory=PassedOverFiles)


def find_tables(sources: list[str], options: FindOptions) -> Found:
    """Find all tables of all sources: folders, files or Hub ids.

    Raises:
        InputError: for each source that is not there or holds nothing readable, and each damaged table.
    """
    found = Found()
    problems = Problems()
    for source, prefix in zip(sources, _prefixes(sources), strict=True):
        try:
            found.tables.extend(_of_source(source, prefix, options, found))
        except InputError as error:
            problems.found += error.problems
    for table in found.tables:
        try:
            check_columns(table.path, options.text_columns)
        except InputError as error:
            problems.found += error.problems
    problems.raise_any()
    found.tables.sort(key=lambda table: table.split_told_by)
    return found


def audio_files(found: Found, skip: Path | None) -> Iterator[tuple[Path, str]]:
    """Yield the folder and name of each audio file in the sources' folders."""
    for root in found.folders:
        yield from _audio(root, skip)


def _audio(root: Path, skip: Path | None) -> Iterator[tuple[Path, str]]:
    for folder in folders(root, skip, PassedOverFiles()):
        yield from ((folder, name) for name in file_names(folder) if is_audio(name))


def _prefixes(sources: list[str]) -> list[str]:
    """Return the name of each source's folder, numbered where different folders have one name."""
    paths = [_place(source) for source in sources]
    folders = [path.parent if path.is_file() else path for path in paths]
    alike = {folder: [f for f in dict.fromkeys(folders) if f.name == folder.name] for folder in folders}
    return [
        folder.name if len(alike[folder]) == 1 else f"{folder.name}-{alike[folder].index(folder) + 1}"
        for folder in folders
    ]


def _place(source: str) -> Path:
    """Return a source's absolute path: by its own name where it is a link to a folder, or to a file with no form.

    The Hub's cache and DVC link to files that are named by their content. A table's audio is beside the table itself.
    """
    own, real = Path(os.path.normpath(Path(source).absolute())), Path(source).resolve()
    return real if real.is_file() and suffix_of(real.name) in READERS else own


def _of_source(source: str, prefix: str, options: FindOptions, found: Found) -> list[Table]:
    path = Path(source)
    if options.form is Format.HUB or (options.form is Format.AUTO and not path.exists() and _is_hub_id(source)):
        return _from_hub(source, options)
    if not path.exists():
        fail(source, "must be a folder, a file or a Hub id (owner/name)", do="There is no such folder or file.")
    root = _place(source)
    if root.is_file():
        return [placed(_of_file(source, root, options), root.parent, prefix, options.language_map)]
    found.folders.append(root)
    passed_over = PassedOverFiles()
    tables = _of_folder(root, prefix, options, passed_over)
    found.passed_over.update(passed_over)
    if not tables:
        for folder, name in _audio(root, options.skip):
            passed_over.add(folder, name, "audio without a table of its transcripts")
        got = "nothing that prepare can read" if options.form is Format.AUTO else f"nothing of the form {options.form}"
        do = "See raywce prepare --help for the forms."
        nothing = Problem(source, "must hold speech with its transcripts", got, do)
        raise InputError([nothing, *as_problems(passed_over)])
    return tables


def as_problems(passed_over: PassedOverFiles) -> list[Problem]:
    """Return the first groups of files passed over as problems, for where nothing else is left."""
    return [Problem(group.place, group.reason) for group in passed_over.groups()[:_LISTED]]


def _of_file(source: str, path: Path, options: FindOptions) -> Table:
    """Return the table that a source is; Common Voice's find their clips."""
    if suffix_of(path.name) not in READERS:
        fail(source, f"a file must be one of {', '.join(READERS)}", suffix_of(path.name) or "no suffix")
    made = candidate(path, options)
    if isinstance(made, str):
        fail(source, NO_TABLE, made)
    return made.table


def _of_folder(root: Path, prefix: str, options: FindOptions, passed_over: PassedOverFiles) -> list[Table]:
    """Return the tables to read of a folder and of all folders below it."""
    found: list[Candidate] = []
    saved: list[Path] = []
    problems = Problems()
    for folder in folders(root, options.skip, passed_over):
        try:
            if any(folder.is_relative_to(path) for path in saved):
                continue  # the folder of one of its splits
            if options.form in (Format.AUTO, Format.SAVED_DATASET) and _is_saved_dataset(folder):
                saved.append(folder)
                tables = _saved_dataset(folder)
                found += [Candidate(table, Format.SAVED_DATASET) for table in tables]
                _pass_over_rest(folder, {table.path for table in tables}, passed_over)
            else:
                found += candidates(folder, root, options, passed_over)
        except InputError as error:
            problems.found += error.problems
    problems.raise_any()
    found = [replace(one, table=placed(one.table, root, prefix, options.language_map)) for one in found]
    return chosen(found, options, passed_over)


def _is_saved_dataset(folder: Path) -> bool:
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def _saved_dataset(folder: Path) -> list[Table]:
    """Return the tables of a Dataset or DatasetDict of `save_to_disk`: its Arrow files as they are, audio undecoded."""
    import datasets

    try:
        return _of_loaded(datasets.load_from_disk(str(folder)), folder)
    except Exception as error:  # the library raises many kinds; the user needs the one line
        do = "Save it again, or move it out of the source."
        fail(str(folder), "must be a whole dataset of save_to_disk", first_line(error), do)


def _pass_over_rest(folder: Path, used: set[Path], passed_over: PassedOverFiles) -> None:
    """Pass over the tables in a saved dataset's folders that it doesn't name."""
    for parent in folders(folder, None, PassedOverFiles()):
        for name in file_names(parent):
            if is_table(name) and parent / name not in used and name not in OF_SAVED_DATASET:
                passed_over.add(parent, name, f"no part of the saved dataset around it; {ASK}")


def _of_loaded(loaded: Dataset | DatasetDict, folder: Path) -> list[Table]:
    splits = loaded.items() if isinstance(loaded, dict) else [("", loaded)]
    return [
        Table(Path(file["filename"]), folder, split=split_of(name))
        for name, dataset in splits
        for file in dataset.cache_files
    ]


def _is_hub_id(source: str) -> bool:
    return source.count("/") == 1 and not source.startswith((".", "/", "~")) and not source.endswith("/")


def _from_hub(source: str, options: FindOptions) -> list[Table]:
    """Download through `datasets`, which leaves Arrow files in its cache; audio stays undecoded."""
    import datasets

    config = options.config
    try:
        loaded = datasets.load_dataset(source, config, revision=options.revision)
    except Exception as error:  # the library raises many kinds; the user needs the one line
        offline = "set" if os.environ.get("HF_HUB_OFFLINE") else "not set"
        do = f"Check the id, the network and --config/--revision (HF_HUB_OFFLINE is {offline}): {first_line(error)}"
        fail(source, "must be a folder here, or a dataset of the Hub that can be reached", do=do)
    prefix = f"{source}/{config}" if config else source
    language = read_language(config, options.language_map) if config else None
    return [replace(table, prefix=prefix, folder_language=language) for table in _of_loaded(loaded, Path.cwd())]
