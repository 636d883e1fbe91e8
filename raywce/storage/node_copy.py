"""A node's own copies: of folders behind URIs (s3://bucket/speech), and of what is made from files, each made once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

import pyarrow as pa
from filelock import FileLock
from pyarrow import ArrowInvalid, fs
from pyarrow import parquet as pq

from raywce.errors import fail, one_line
from raywce.storage.failures import patiently
from raywce.storage.files import is_uri, located, replaced

Read = TypeVar("Read")


def has_parquet(folder: str, part: str) -> bool:
    """Return whether a subfolder of a path or URI, such as train/gl, holds parquet files.

    Raises:
        OSError: the storage can't be read.
    """
    return any(info.base_name.endswith(".parquet") for info in _entries(folder, [part]))


def size_of(folder: str, parts: Sequence[str]) -> int:
    """Count the bytes of all files in subfolders of a path or URI, such as train/gl; 0 for one that is not there.

    Raises:
        OSError: the storage can't be read.
    """
    return sum(info.size or 0 for info in _entries(folder, parts, recursive=True))


def rows_in(folder: str, parts: Sequence[str]) -> int:
    """Count the rows of all parquet files in subfolders of a path or URI, such as test/gl; 0 for one that is not there.

    Raises:
        InputError: a file is damaged.
        OSError: the storage can't be read.
    """
    filesystem, _ = located(folder)
    return sum(
        _checked(path, lambda path: pq.read_metadata(path, filesystem=filesystem).num_rows)
        for path in _parquet_files(folder, parts)
    )


def read_columns(folder: str, parts: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """Return some columns of all parquet files in subfolders of a path or URI, such as dev/gl.

    Raises:
        InputError: a file is damaged.
        OSError: there is none, or the storage can't be read.
    """
    filesystem, _ = located(folder)
    tables = [
        _checked(path, lambda path: pq.read_table(path, columns=list(columns), filesystem=filesystem))
        for path in _parquet_files(folder, parts)
    ]
    if not tables:
        raise FileNotFoundError(f"{folder}: nothing in {', '.join(parts)}")
    return pa.concat_tables(tables)


def _parquet_files(folder: str, parts: Sequence[str]) -> list[str]:
    return [info.path for info in _entries(folder, parts) if info.base_name.endswith(".parquet")]


def _checked(path: str, read: Callable[[str], Read]) -> Read:
    try:
        return read(path)
    except ArrowInvalid as error:
        fail(path, "must be a parquet file", one_line(error), "Prepare the folder again.")


def _entries(folder: str, parts: Sequence[str], recursive: bool = False) -> list[fs.FileInfo]:
    """Return the files and folders in subfolders; none for one that is not there."""
    filesystem, root = located(folder)
    places = [f"{root}/{part}".rstrip("/") for part in parts]
    selectors = [fs.FileSelector(place, recursive=recursive, allow_not_found=True) for place in places]
    return [info for selector in selectors for info in filesystem.get_file_info(selector)]


def made_once(file: Path, make: Callable[[Path], object]) -> Path:
    """Return a file of a node's cache; where it is missing, one process has `make` write it, and the others wait."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            if not file.exists():
                with replaced(file) as partial:
                    make(partial)
    return file


def on_node(folder: str, cache: Path, parts: Sequence[str] = ("",)) -> Path:
    """Return where this node has the folder: itself for a path, a copy of the wanted parts in the cache for a URI.

    A file is copied again where its size or time has changed; one that is gone there is removed here.

    Args:
        folder: path or URI.
        cache: of the node; its processes copy one after the other.
        parts: subfolders, such as train/gl; one that is not there stays away here too.

    Raises:
        OSError: the storage can't be read.
    """
    if not is_uri(folder):
        return Path(folder)
    target = cache / "remote" / hashlib.sha256(folder.encode()).hexdigest()[:16]
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(target / ".lock"):
        for part in parts:
            _mirror(folder, target, part)
    return target


@patiently
def _mirror(folder: str, target: Path, part: str) -> None:
    filesystem, root = located(folder)
    wanted = {
        target / PurePosixPath(info.path).relative_to(root): info
        for info in _entries(folder, [part], recursive=True)
        if info.type is fs.FileType.File
    }
    for here in (target / part).rglob("*"):
        if here.is_file() and here not in wanted and here != target / ".lock":
            here.unlink()
    for here, info in wanted.items():
        modified = info.mtime_ns or 0
        if here.exists() and (here.stat().st_size, here.stat().st_mtime_ns) == (info.size, modified):
            continue
        here.parent.mkdir(parents=True, exist_ok=True)
        with replaced(here) as partial:
            fs.copy_files(
                info.path, str(partial), source_filesystem=filesystem, destination_filesystem=fs.LocalFileSystem()
            )
            os.utime(partial, ns=(modified, modified))
