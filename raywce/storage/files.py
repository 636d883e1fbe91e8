"""Files on a disk or behind a URI, such as s3://bucket/runs: read, and replaced only once they are whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import not_
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs
from tenacity import retry, retry_if_exception_type, retry_if_result, stop_after_attempt, wait_exponential, wait_fixed

from raywce.storage.failures import patiently

# An object appears once it is whole, but Azure's is empty at first. To move one is to copy it, which S3 refuses above
# 5 GiB; folders can't be moved.
_WHOLE_UPLOADS = ("s3", "gcs")
_OBJECT_STORES = (*_WHOLE_UPLOADS, "abfs")


def is_uri(place: str) -> bool:
    """Return whether `place` is a URI, such as s3://bucket/runs."""
    return "://" in place


def is_utf8(text: str) -> bool:
    """Return whether a name, or a text that was read with `surrogateescape`, is UTF-8: other bytes are surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def located(place: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a path or URI, and the path in it.

    Raises:
        OSError: the storage can't be reached.
    """
    return fs.FileSystem.from_uri(place) if is_uri(place) else (fs.LocalFileSystem(), place)


@patiently
def exists(place: str) -> bool:
    """Return whether a file or folder is there."""
    filesystem, path = located(place)
    return filesystem.get_file_info(path).type is not fs.FileType.NotFound


@retry(
    retry=retry_if_result(not_),
    wait=wait_exponential(multiplier=0.5, max=20),
    stop=stop_after_attempt(8),
    retry_error_callback=lambda state: False,
)
def appears(place: str) -> bool:
    """Return whether a file is there, or comes: a network file system may show it to another node after a while."""
    return exists(place)


@patiently
def entries(folder: str) -> list[fs.FileInfo]:
    """Return the files and folders in a folder; none where there is no such folder."""
    filesystem, path = located(folder)
    return list(filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)))


@patiently
def delete_folder(place: str) -> None:
    """Delete a folder with what is in it, where it is there."""
    filesystem, path = located(place)
    if filesystem.get_file_info(path).type is fs.FileType.Directory:
        filesystem.delete_dir(path)


@patiently
def delete_file(place: str) -> None:
    """Delete a file, where it is there."""
    filesystem, path = located(place)
    if filesystem.get_file_info(path).type is fs.FileType.File:
        filesystem.delete_file(path)


@patiently
def read_text(place: str) -> str:
    """Return a file's text."""
    filesystem, path = located(place)
    with filesystem.open_input_stream(path) as stream:
        return bytes(stream.read()).decode()


@patiently
def write_text(place: str, text: str) -> None:
    """Replace a file by `text`; its folder is made where it is missing."""
    _replace(place, text.encode())


# S3 tells a file's size and its bytes in two answers: between them a running search may have replaced it.
@retry(retry=retry_if_exception_type(pa.ArrowInvalid), stop=stop_after_attempt(4), wait=wait_fixed(0.2), reraise=True)
@patiently
def read_table(place: str, filters: pc.Expression | None = None) -> pa.Table:
    """Return the table of a parquet file, or those of its rows that pass the filter.

    Raises:
        pa.ArrowInvalid: it is not a parquet file.
    """
    filesystem, path = located(place)
    return pq.read_table(path, filesystem=filesystem, filters=filters)


@patiently
def write_table(place: str, table: pa.Table) -> None:
    """Replace a parquet file by `table`; its folder is made where it is missing."""
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream)
    _replace(place, stream.getvalue())


@patiently
def copy_file(source: str, place: str) -> None:
    """Copy a file between paths or URIs; it appears under its name once it is whole, and its folder is made."""
    (origin, path), (filesystem, target) = located(source), located(place)
    filesystem.create_dir(target.rpartition("/")[0], recursive=True)
    if filesystem.type_name in _OBJECT_STORES:
        fs.copy_files(path, target, origin, filesystem)
        return
    fs.copy_files(path, f"{target}.partial", origin, filesystem)
    filesystem.move(f"{target}.partial", target)


@patiently
def wait_until_writable(folder: str) -> None:
    """Return once a file can be written in a folder.

    Raises:
        OSError: it can't be written after `raywce.storage.failures.PATIENCE_S`.
    """
    filesystem, path = located(f"{folder}/.writable-{uuid4().hex}")  # others may look at the same time
    _write(filesystem, path, b"yes")
    with suppress(FileNotFoundError):
        filesystem.delete_file(path)


@contextmanager
def replaced(file: Path) -> Iterator[Path]:
    """Yield a hidden file beside `file`, which takes its place when the block ends, and is removed when it fails."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _replace(place: str, content: bytes | pa.Buffer) -> None:
    """Replace a file by `content`; its folder is made where it is missing."""
    filesystem, path = located(place)
    filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    if filesystem.type_name in _WHOLE_UPLOADS:
        _write(filesystem, path, content)
        return
    partial = f"{path}.partial"
    try:
        _write(filesystem, partial, content)
        filesystem.move(partial, path)
    except BaseException as error:
        with suppress(OSError):  # what went wrong first is what counts, and decides whether it is tried again
            filesystem.delete_file(partial)
        if not isinstance(error, NotImplementedError):
            raise
        _write(filesystem, path, content)  # Azure can't move without a hierarchical namespace


def _write(filesystem: fs.FileSystem, path: str, content: bytes | pa.Buffer) -> None:
    with filesystem.open_output_stream(path) as stream:
        stream.write(content)
