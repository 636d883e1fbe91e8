"""Files under a source: folders in order, and what files are by their names."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from raywce.data.prepare.file_names import AUDIO_SUFFIXES, is_there, suffix_of
from raywce.data.prepare.passed_over import PassedOverFiles
from raywce.data.prepare.tables import READERS

_OTHER_TABLES = {".xlsx", ".xls", ".ods", ".feather", ".orc", ".avro", ".ndjson", ".tab", ".psv"}
_OTHER_TABLES |= {".scp", ".stm", ".ctm", ".lst", ".list", ".mlf"}
_KALDI = {"text", "segments", "utt2spk", "spk2utt", "audio_paths"}
_TRANSCRIPTS = {".lab", ".srt", ".vtt", ".textgrid", ".eaf", ".trs", ".cha"}
_LINE = 4096  # bytes looked at
_PACKED = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"}

HIDDEN = "hidden folder; nothing in it is read"
APPLE_DOUBLE = "macOS keeps its own notes in files named ._*; they hold no speech"
LFS_POINTER = "a Git LFS pointer, not the file itself; fetch it with git lfs pull"
_PACKED_REASON = "packed; unpack it to have it read"
_OTHER_TABLE_REASON = f"a table or list of a kind that is not read; write it as one of {', '.join(READERS)}"
_TRANSCRIPT_REASON = "one recording's transcript; such files are not read: write one table of them all"


def folders(root: Path, skip: Path | None, passed_over: PassedOverFiles) -> Iterator[Path]:
    """Yield a folder and those below it, parents first, by name; links are followed once.

    Args:
        root: the folder.
        skip: a folder that is left out, without links in its path.
        passed_over: where tables and audio in hidden folders are added, and folders that can't be listed.
    """
    seen: set[str] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in seen or (skip and real == str(skip)):
            continue
        seen.add(real)
        try:
            with os.scandir(folder) as entries:
                names = sorted((entry.name for entry in entries if entry.is_dir()), reverse=True)
        except OSError as error:
            passed_over.add(folder.parent, folder.name, f"a folder that can't be listed: {error.strerror}")
            continue
        yield folder
        for name in names:
            if name.startswith("."):
                _add_hidden(folder / name, passed_over)
            else:
                waiting.append(folder / name)


def _add_hidden(folder: Path, passed_over: PassedOverFiles) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            if suffix_of(name) in READERS or suffix_of(name) in AUDIO_SUFFIXES:
                passed_over.add(folder, str(Path(parent, name).relative_to(folder)), HIDDEN)


def file_names(folder: Path) -> Iterator[str]:
    """Yield the names of a folder's files, in no order; links to nothing are among them."""
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if entry.is_file() or (entry.is_symlink() and not entry.is_dir()))


def is_audio(name: str) -> bool:
    """Return whether a file's name is that of audio."""
    return suffix_of(name) in AUDIO_SUFFIXES and not is_apple_double(name)


def is_table(name: str) -> bool:
    """Return whether a file's name is that of a table that can be read."""
    return suffix_of(name) in READERS and not is_apple_double(name)


def is_apple_double(name: str) -> bool:
    """Return whether macOS made a file beside another one."""
    return name.startswith("._")


def reason_by_name(name: str) -> str | None:
    """Return why a file that looks like a table is not looked into; None where it is, or looks like none."""
    suffix = suffix_of(name)
    if is_apple_double(name):
        known = suffix in READERS or suffix in AUDIO_SUFFIXES
        return APPLE_DOUBLE if known else None
    if suffix in _PACKED:
        return _PACKED_REASON
    if suffix in _TRANSCRIPTS:
        return _TRANSCRIPT_REASON
    is_list = suffix in _OTHER_TABLES or name in _KALDI or name.lower().endswith(".trans.txt")
    return _OTHER_TABLE_REASON if is_list else None


def reason_by_cells(path: Path) -> str | None:
    """Return the reason of `reason_by_name` for text whose first line has cells, or beside audio of its name."""
    if suffix_of(path.name) != ".txt":
        return None
    try:
        with path.open("rb") as file:
            line = file.readline(_LINE)
    except OSError as error:
        return f"text that can't be read: {error.strerror}"
    if b"\t" in line or b"|" in line:
        return _OTHER_TABLE_REASON
    return _TRANSCRIPT_REASON if any(is_there(path.with_suffix(suffix)) for suffix in AUDIO_SUFFIXES) else None


def audio_key(path: str) -> str:
    """Return a form of an audio file's path that is the same by any link to its folder and in NFC and NFD."""
    folder, name = os.path.split(path)
    try:
        return unicodedata.normalize("NFC", f"{_real(folder)}/{name}")
    except ValueError:  # no file has such a name
        return path


@lru_cache(maxsize=4096)
def _real(folder: str) -> str:
    return os.path.realpath(folder)
