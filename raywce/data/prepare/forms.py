"""Forms of speech on disk: which files of a folder are tables of utterances, and why the others are none."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from pathlib import Path

from raywce.data.prepare import arrow_tables
from raywce.data.prepare.columns import TEXT_COLUMNS, audio_of, missing_columns, typed
from raywce.data.prepare.failures import failures_named
from raywce.data.prepare.file_names import find_file, is_there, suffix_of
from raywce.data.prepare.files import (
    APPLE_DOUBLE,
    LFS_POINTER,
    file_names,
    is_audio,
    is_table,
    reason_by_cells,
    reason_by_name,
)
from raywce.data.prepare.languages import LanguageMap, ReadLanguage, language_of_name
from raywce.data.prepare.passed_over import PassedOverFiles
from raywce.data.prepare.records import Fields
from raywce.data.prepare.splits import split_of, split_of_path
from raywce.data.prepare.tables import column_names, read_records
from raywce.data.prepare.text_files import encoding_problem
from raywce.errors import InputError, Problems, fail
from raywce.storage.git_lfs import is_pointer
from raywce.storage.prepared_folder import PREPARED, REJECTED

_CLIP_FOLDERS = ("clips", "audios")
_RELEASE = ("train", "dev", "test")  # Common Voice's own tables that share out its validated clips
_COMMON_VOICE = {*_RELEASE, "validated"}
_NEVER_READ = {
    "invalidated": "Common Voice's clips that listeners found wrong; they are never read",
    "other": "Common Voice's clips that too few listeners have checked; they are never read",
}
_SHARD = re.compile(r"-\d+-of-\d+$")  # as the Hub names the parquet files of a split
_OWN_FILES = {REJECTED, PREPARED, "trials.parquet"}
OF_SAVED_DATASET = {"dataset_dict.json", "dataset_info.json", "state.json"}

ASK = "give the file itself to have it read"


class Format(StrEnum):
    """Forms of a source; `auto` chooses by what is there."""

    AUTO = "auto"
    COMMON_VOICE = "common-voice"
    AUDIOFOLDER = "audiofolder"
    MANIFEST = "manifest"
    SAVED_DATASET = "saved-dataset"
    PARQUET = "parquet"
    HUB = "hub"


# Forms by what is read where a folder holds several.
_FORMS = (Format.SAVED_DATASET, Format.COMMON_VOICE, Format.AUDIOFOLDER, Format.PARQUET, Format.MANIFEST)


@dataclass(frozen=True)
class FindOptions:
    """Options for finding tables.

    Attributes:
        form: what the sources are.
        config: the Hub dataset's configuration.
        revision: its revision (`refs/convert/parquet` for FLEURS, whose script is dead).
        skip: a folder that is not looked into: the output.
        split: the split of what names none.
        text_columns: columns that may hold the transcript.
        language_map: languages by the names of folders and files.
    """

    form: Format = Format.AUTO
    config: str | None = None
    revision: str | None = None
    skip: Path | None = None
    split: str | None = None
    text_columns: tuple[str, ...] = TEXT_COLUMNS
    language_map: LanguageMap = field(default_factory=dict)


class SplitTold(IntEnum):
    """What says the split of a table's rows, the best evidence first."""

    ITSELF = 0  # its name or a column
    FOLDERS = 1  # its own or those of its audio
    OPTION = 2


@dataclass(frozen=True)
class Table:
    """One table of utterances.

    Attributes:
        path: the file: TSV, CSV, JSON, parquet or Arrow stream.
        audio_folder: what relative audio paths are relative to.
        prefix: goes before ids made from a path: the source's name and the folder in it.
        split: the split that its name says; None where it says none.
        language: likewise the language.
        folder_split: the split that its folders say, the nearest first.
        folder_language: likewise the language.
        clip_ids: whether a clip's file name alone is its id (Common Voice), the same in every release.
        split_told_by: what says its splits.
    """

    path: Path
    audio_folder: Path
    prefix: str = ""
    split: str | None = None
    language: ReadLanguage | None = None
    folder_split: str | None = None
    folder_language: ReadLanguage | None = None
    clip_ids: bool = False
    split_told_by: SplitTold = SplitTold.ITSELF


@dataclass(frozen=True)
class Candidate:
    """A table that can be read.

    Attributes:
        table: the table.
        form: its form.
        has_split_column: whether each row may say its split.
        audio_split: the split that the folder of the first row's audio says.
    """

    table: Table
    form: Format
    has_split_column: bool = False
    audio_split: str | None = None

    @property
    def split_told_by(self) -> SplitTold:
        """What says the split; an option where nothing else does."""
        if self.has_split_column or self.table.split:
            return SplitTold.ITSELF
        return SplitTold.FOLDERS if self.table.folder_split or self.audio_split else SplitTold.OPTION


def placed(table: Table, root: Path, prefix: str, mapping: LanguageMap) -> Table:
    """Return the table with what its name and its folders say, up to the source's own, and the prefix of its ids."""
    inside = table.path.relative_to(root) if table.path.is_relative_to(root) else Path(table.path.name)
    folders = [*reversed(inside.parent.parts), root.name]
    if split_of(root.name):
        folders.append(root.parent.name)
    return replace(
        table,
        prefix=str(Path(prefix, inside.parent)),
        split=table.split or split_of(table.path.stem),
        language=table.language or language_of_name(table.path.stem, mapping),
        folder_split=next((split for name in folders if (split := split_of(name))), None),
        folder_language=next((found for name in folders if (found := language_of_name(name, mapping))), None),
    )


def candidate(path: Path, options: FindOptions) -> Candidate | str:
    """Return a file as a table of its form, or why it is none: columns or rows are missing.

    Raises:
        InputError: the file is damaged, or a Git LFS pointer.
    """
    names = _columns(path)
    if not names:
        json = suffix_of(path.name) in (".json", ".jsonl")
        return "no row is a JSON object, one a line or in one array" if json else "no rows"
    if missing := missing_columns(names, options.text_columns):
        problem = encoding_problem(path) if suffix_of(path.name) not in arrow_tables.SUFFIXES else None
        return f"{missing}. It {problem.rule}, but got {problem.got}. {problem.do}" if problem else missing
    clips = next((path.parent / name for name in _CLIP_FOLDERS if (path.parent / name).is_dir()), None)
    part = path.parent.name if path.stem.isdecimal() else _SHARD.sub("", path.stem)
    if part in _NEVER_READ and (clips or "client_id" in names):
        return _NEVER_READ[part]
    first = _first_row(path, options)
    _, audio = audio_of(first)
    table = Table(path, path.parent)
    form = Format.PARQUET if suffix_of(path.name) in arrow_tables.SUFFIXES else Format.MANIFEST
    if path.stem.lower() == "metadata":
        form = Format.AUDIOFOLDER
    named = suffix_of(path.name) == ".tsv" and path.stem in _COMMON_VOICE
    if options.form is not Format.MANIFEST and clips and (named or "client_id" in names):
        form = Format.COMMON_VOICE
        if not (audio and is_there(find_file(path.parent / audio))):
            table = Table(path, clips, clip_ids=True)
    says = "split" in names and (not first or split_of(str(first.get("split"))) is not None)
    return Candidate(table, form, says, split_of_path(audio))


def candidates(folder: Path, root: Path, options: FindOptions, passed_over: PassedOverFiles) -> list[Candidate]:
    """Return a folder's tables that can be read and are of the form asked for; Common Voice's train, dev, test first.

    Raises:
        InputError: files that are damaged or Git LFS pointers, all of them.
    """
    found: list[Candidate] = []
    problems = Problems()
    for name in sorted(name for name in file_names(folder) if not is_audio(name)):
        try:
            made = _candidate_or_reason(folder / name, options)
        except InputError as error:
            problems.found += error.problems
            continue
        if isinstance(made, Candidate):
            found.append(made)
        elif made == APPLE_DOUBLE:
            passed_over.add(root, str((folder / name).relative_to(root)), made)  # they are everywhere
        elif made:
            passed_over.add(folder, name, made)
    problems.raise_any()
    return sorted(found, key=lambda one: _RELEASE.index(one.table.path.stem) if _is_release(one) else len(_RELEASE))


def _candidate_or_reason(path: Path, options: FindOptions) -> Candidate | str | None:
    """Return a table, or why a file is none; None for a file that doesn't look like one."""
    if reason := reason_by_name(path.name) or reason_by_cells(path):
        return reason
    if not is_table(path.name) or path.name in OF_SAVED_DATASET:
        return None
    if path.name in _OWN_FILES:
        return "written by raywce itself; holds no speech"
    made = candidate(path, options)
    if isinstance(made, Candidate) and not _is_of_form(made, options.form):
        return f"not of the form {options.form}, which --format asks for"
    return made


def chosen(found: Sequence[Candidate], options: FindOptions, passed_over: PassedOverFiles) -> list[Table]:
    """Return the tables to read of those found in a source.

    One whose split nothing says gives way to those beside and below it, as its rows could not be kept. Of tables that
    embed audio and others in one folder, those of the first form in `_FORMS` are read.
    """
    told = [one for one in found if one.split_told_by < SplitTold.OPTION]
    above = {folder for one in told for folder in one.table.path.parents}
    ranked: dict[Path, list[Candidate]] = defaultdict(list)
    for one in found:
        reason = None if one in told or options.split else _reason_without_split(one, above)
        if reason:
            passed_over.add(one.table.path.parent, one.table.path.name, reason)
        else:
            ranked[one.table.path.parent].append(one)
    tables: list[Table] = []
    for folder, of_folder in ranked.items():
        best = min(of_folder, key=_rank)
        for one in of_folder:
            if _goes_with(one, best) or _adds_split(one, best, of_folder):
                tables.append(replace(one.table, split_told_by=one.split_told_by))
            else:
                reason = f"{best.table.path.name} beside it is read, of the form {best.form}; {ASK}"
                passed_over.add(folder, one.table.path.name, reason)
    return tables


def _reason_without_split(one: Candidate, above: set[Path]) -> str | None:
    """Return why a table is passed over that says no split; `above` are the folders of those that do."""
    beside = one.table.path.parent in above
    if one.form is Format.COMMON_VOICE:
        do = f"{ASK}, with --split" if beside else "--split train has them read as train"
        return f"Common Voice's clips before they are split; {do}"
    return f"says no split, and tables beside or below it do; {ASK}, or use --split" if beside else None


def _rank(one: Candidate) -> int:
    """Return the place of a table's form among those of its folder, Common Voice's own train, dev and test first."""
    return 0 if _is_release(one) else 1 + _FORMS.index(one.form)


def _goes_with(one: Candidate, best: Candidate) -> bool:
    """Return whether a table is read beside the best of its folder: of one form, or both lists of audio files."""
    lists = (Format.AUDIOFOLDER, Format.MANIFEST)
    return _rank(one) == _rank(best) or (one.form in lists and best.form in lists)


def _adds_split(one: Candidate, best: Candidate, of_folder: Sequence[Candidate]) -> bool:
    """Return whether a table's name says a split that no table of its folder's best form is of."""
    splits = {other.table.split for other in of_folder if _goes_with(other, best)}
    return one.table.split is not None and None not in splits and one.table.split not in splits


def _is_release(one: Candidate) -> bool:
    return one.form is Format.COMMON_VOICE and one.table.path.stem in _RELEASE


def _is_of_form(one: Candidate, form: Format) -> bool:
    """Return whether `--format` asks for a table; a metadata file may also be a manifest, or parquet."""
    suffix = suffix_of(one.table.path.name)
    if form is Format.MANIFEST:
        return suffix not in arrow_tables.SUFFIXES
    return form in (Format.AUTO, one.form) or (form is Format.PARQUET and suffix == ".parquet")


def _columns(path: Path) -> list[str]:
    with failures_named(path):
        if is_pointer(path):
            fail(str(path), "must be a table", LFS_POINTER)
    return column_names(path)


def _first_row(path: Path, options: FindOptions) -> Fields:
    """Return the first row of a text table; none of parquet and Arrow, where it costs more."""
    if suffix_of(path.name) in arrow_tables.SUFFIXES:
        return {}
    first = next((record.fields for record in read_records(path)), {})
    return typed(first, options.text_columns)[0]
