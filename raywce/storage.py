"""Tells a storage that can't be written (full, read-only, forbidden) from a run's own failures."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from raywce.errors import InputError, RunFailed

_CODES = ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "ENOTDIR", "ESTALE", "ENOTCONN")
# Errors of other processes come as text, and those of pyarrow without a number.
_TELLTALES = (*(os.strerror(getattr(errno, code)) for code in _CODES if hasattr(errno, code)), "AWS Error")


def is_storage_failure(text: str) -> bool:
    """Whether the text of an error says that a file could not be written."""
    return any(telltale in text for telltale in _TELLTALES)


@contextmanager
def storage_failures_told(uri: str) -> Iterator[None]:
    """What is written in the block goes into the run folder at `uri`; where it can't, say how to go on.

    Raises:
        RunFailed: instead of any error that comes from one of the storage.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        message = f"{uri} can't be written: {reason}. Nothing finished is lost: make room or give access, "
        raise RunFailed(f"{message}and the same command goes on from here") from error


def _reason(error: BaseException | None) -> str | None:
    """The line that tells, from the error itself or from what it came of."""
    while error is not None:
        for line in str(error).splitlines():
            if is_storage_failure(line):
                return line.strip()
        error = error.__cause__ or error.__context__
    return None
