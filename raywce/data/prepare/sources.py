"""Sources of speech: the tables in them, and the languages and splits that columns, folders and files name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from raywce.data.prepare.tables import READERS, column_names
from raywce.data.schema import REJECTED
from raywce.errors import InputError, Problems, fail, first_line

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

AUDIO_COLUMNS = ("file_name", "audio_filepath", "audio_file", "path", "audio", "file", "audio_path")
TEXT_COLUMNS = ("sentence", "text", "transcription", "transcript", "raw_transcription", "normalized_text")
_CLIP_FOLDERS = ("clips", "audios")
_NOT_SPEECH = {REJECTED, "trials.parquet"}
_SPLITS = {
    **dict.fromkeys(["train", "training"], "train"),
    **dict.fromkeys(["dev", "devel", "development", "valid", "val", "validation"], "dev"),
    **dict.fromkeys(["test", "testing"], "test"),
}
_CODE = re.compile(r"([a-z]{2,3})(?:[-_][A-Za-z0-9]{2,10})*")
# Three-letter folder names that are languages of Common Voice, FLEURS or Whisper, not "wav", "tmp" or "raw".
_THREE_LETTERS = """
ady arn ast bas bew btv bxr ceb ckb cmn cnh dar dav dsb dyu fil gom guc guj guz haw hbo hch hsb jbo jqr kab kam
kbd kea kln kmr koo lad lij lke ltg lth luo lus lzz mai maj mau mbf mdf mfe mhr mmc mni mos mrj myv nan ndi nhe
nhi nia nmz nso nsy oji pez pne qup qur qus qux quy rap rwm sah sat sba sco sei shi skr syr szy tig tob tok top
trv tsz tui tyv tyz udm umb vec vmw vot xho xkl yaq yav yrl yua yue zgh zoc zul zza
"""


class Format(StrEnum):
    """Forms of a source; `auto` chooses by what is there."""

    AUTO = "auto"
    COMMON_VOICE = "common-voice"
    AUDIOFOLDER = "audiofolder"
    MANIFEST = "manifest"
    SAVED_DATASET = "saved-dataset"
    PARQUET = "parquet"
    HUB = "hub"


@dataclass(frozen=True)
class Table:
    """One table of utterances.

    Attributes:
        path: the file: TSV, CSV, JSON lines, parquet or Arrow stream.
        audio_folder: what relative audio paths are relative to.
        prefix: goes before ids made from a path: the source's name and the folder in it.
        split: the split that its place names; None where it names none.
        language: likewise the language.
        clip_ids: whether a clip's file name alone is its id (Common Voice), the same in every release.
    """

    path: Path
    audio_folder: Path
    prefix: str
    split: str | None = None
    language: str | None = None
    clip_ids: bool = False


def find_tables(
    sources: list[str],
    form: Format = Format.AUTO,
    config: str | None = None,
    revision: str | None = None,
    skip: Path | None = None,
) -> list[Table]:
    """Return all tables of all sources, in the order given, then by path.

    Args:
        sources: folders, files or Hub ids.
        form: what the sources are.
        config: the Hub dataset's configuration.
        revision: its revision (`refs/convert/parquet` for FLEURS, whose script is dead).
        skip: a folder that is not looked into: the output.

    Raises:
        InputError: for each source that is not there or holds nothing readable.
    """
    tables: list[Table] = []
    problems = Problems()
    for source, prefix in zip(sources, _prefixes(sources), strict=True):
        try:
            tables += _of_source(source, prefix, form, config, revision, skip)
        except InputError as error:
            problems.found += error.problems
    problems.raise_any()
    return tables


def _prefixes(sources: list[str]) -> list[str]:
    """Return the name of each source's folder, numbered where different folders have one name."""
    paths = [Path(source).resolve() for source in sources]
    folders = [path.parent if path.is_file() else path for path in paths]
    alike = {folder: [f for f in dict.fromkeys(folders) if f.name == folder.name] for folder in folders}
    return [
        folder.name if len(alike[folder]) == 1 else f"{folder.name}-{alike[folder].index(folder) + 1}"
        for folder in folders
    ]


def _of_source(
    source: str, prefix: str, form: Format, config: str | None, revision: str | None, skip: Path | None
) -> list[Table]:
    path = Path(source)
    if form is Format.HUB or (form is Format.AUTO and not path.exists() and _is_hub_id(source)):
        return _from_hub(source, config, revision)
    if not path.exists():
        fail(source, "must be a folder, a file or a Hub id (owner/name)", do="There is no such folder or file.")
    root = path.resolve()
    if root.is_file():
        if root.suffix.lower() not in READERS:
            fail(source, f"a file must be one of {', '.join(READERS)}", root.suffix or "no suffix")
        return [_placed(Table(root, root.parent, ""), root.parent, prefix)]
    tables = [_placed(table, root, prefix) for table in _walk(root, form, skip)]
    if not tables:
        wanted = "nothing that prepare can read" if form is Format.AUTO else f"nothing of the form {form}"
        fail(source, "must hold speech with its transcripts", wanted, "See raywce prepare --help for the forms.")
    return tables


def _walk(folder: Path, form: Format, skip: Path | None) -> Iterator[Table]:
    """Yield the tables of a folder if it has one of the forms, else those of its sub-folders."""
    finders = _FINDERS.values() if form is Format.AUTO else [_FINDERS[form]]
    found = next((tables for finder in finders if (tables := finder(folder))), [])
    if found:
        yield from found
        return
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.name.startswith(".") and child != skip:
            yield from _walk(child, form, skip)


def _common_voice(folder: Path) -> list[Table]:
    """Find a release: `clips/` with train, dev and test.tsv, or `audios/` with ss-corpus-*.tsv (spontaneous speech)."""
    clips = next((folder / name for name in _CLIP_FOLDERS if (folder / name).is_dir()), None)
    if clips is None:
        return []
    named = [folder / f"{name}.tsv" for name in ("train", "dev", "test")]
    files = [file for file in named if file.is_file()] or sorted(folder.glob("ss-corpus-*.tsv"))
    return [Table(file, clips, "", clip_ids=True) for file in files]


def _audiofolder(folder: Path) -> list[Table]:
    names = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")
    return [Table(folder / name, folder, "") for name in names if (folder / name).is_file()]


def _saved_dataset(folder: Path) -> list[Table]:
    """Find a Dataset or DatasetDict of `save_to_disk`; its Arrow files are read as they are, audio undecoded."""
    if not ((folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()):
        return []
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # the library raises many kinds; the user needs the one line
        fail(str(folder), "must hold a dataset as save_to_disk wrote it", first_line(error), "Save or copy it again.")
    return _of_loaded(loaded, folder)


def _of_loaded(loaded: Dataset | DatasetDict, folder: Path) -> list[Table]:
    splits = loaded.items() if isinstance(loaded, dict) else [("", loaded)]
    return [
        Table(Path(file["filename"]), folder, "", split=split_of(name))
        for name, dataset in splits
        for file in dataset.cache_files
    ]


def _parquet(folder: Path) -> list[Table]:
    files = [file for file in sorted(folder.glob("*.parquet")) if file.name not in _NOT_SPEECH]
    return [Table(file, folder, "") for file in files]


def _manifests(folder: Path) -> list[Table]:
    """Find tables beside other files: only those with a column for audio and one for text."""
    files = [file for kind in ("*.jsonl", "*.csv", "*.tsv", "*manifest*.json") for file in folder.glob(kind)]
    wanted = [(file, set(column_names(file))) for file in sorted(files)]
    return [
        Table(file, folder, "") for file, names in wanted if names & set(AUDIO_COLUMNS) and names & set(TEXT_COLUMNS)
    ]


_FINDERS = {
    Format.COMMON_VOICE: _common_voice,
    Format.SAVED_DATASET: _saved_dataset,
    Format.AUDIOFOLDER: _audiofolder,
    Format.PARQUET: _parquet,
    Format.MANIFEST: _manifests,
}


def _placed(table: Table, root: Path, prefix: str) -> Table:
    """Read split and language from the file's name and its folders, the nearest first, up to the source's own."""
    inside = table.path.relative_to(root) if table.path.is_relative_to(root) else Path(table.path.name)
    folders = [*reversed(inside.parent.parts), root.name]
    if split_of(root.name):
        folders.append(root.parent.name)
    places = [table.path.stem, *folders]
    split = table.split or next((found for name in places if (found := split_of(name))), None)
    language = next((found for name in folders if (found := language_of_folder(name))), None)
    return replace(table, prefix=str(Path(prefix, inside.parent)), split=split, language=language)


def _is_hub_id(source: str) -> bool:
    return source.count("/") == 1 and not source.startswith((".", "/", "~")) and not source.endswith("/")


def _from_hub(source: str, config: str | None, revision: str | None) -> list[Table]:
    """Download through `datasets`, which leaves Arrow files in its cache; audio stays undecoded."""
    import datasets

    try:
        loaded = datasets.load_dataset(source, config, revision=revision)
    except Exception as error:  # the library raises many kinds; the user needs the one line
        offline = "set" if os.environ.get("HF_HUB_OFFLINE") else "not set"
        do = f"Check the id, the network and --config/--revision (HF_HUB_OFFLINE is {offline}): {first_line(error)}"
        fail(source, "must be a folder here, or a dataset of the Hub that can be reached", do=do)
    prefix = f"{source}/{config}" if config else source
    language = language_of(config) if config else None
    return [replace(table, prefix=prefix, language=language) for table in _of_loaded(loaded, Path.cwd())]


def split_of(name: str | None) -> str | None:
    """Return `train`, `dev` or `test` where `name` holds exactly one of them as a word (`gl_valid.tsv`)."""
    words = re.split(r"[^a-z]+", (name or "").lower())
    found = {_SPLITS[word] for word in words if word in _SPLITS}
    return found.pop() if len(found) == 1 else None


def language_of(value: str | None) -> str | None:
    """Return the language code in a column's or option's value (`gl`, `pt_br`, `sv-SE`, `Galician`), without region."""
    value = (value or "").strip()
    code = _CODE.fullmatch(value if value[3:] else value.lower())
    return code[1] if code else _codes_by_name().get(value.lower())


def language_of_folder(name: str) -> str | None:
    """Return the language code that a folder's name is; stricter than `language_of`, as any folder is looked at."""
    code = _CODE.fullmatch(name)
    if code and (len(code[1]) == 2 or code[1] in _THREE_LETTERS.split()):
        return code[1]
    return _codes_by_name().get(name.lower())


@lru_cache(maxsize=1)
def _codes_by_name() -> dict[str, str]:
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    return {name: code for name, code in TO_LANGUAGE_CODE.items() if len(name) > 3}
