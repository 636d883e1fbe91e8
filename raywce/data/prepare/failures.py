"""Failures to read a file, as problems that name it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from raywce.data.prepare.file_names import suffix_of
from raywce.errors import fail, first_line

_SHOWN = 200  # characters of an error


@contextmanager
def failures_named(path: Path) -> Iterator[None]:
    """Raise an `InputError` that names the file where it can't be read."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: of a column's name
        rule = f"must be a whole {suffix_of(path.name)} file that can be read"
        got = first_line(error).rstrip(".")[:_SHOWN]
        fail(str(path), rule, got, "Copy or download it again, or move it out of the source.")
