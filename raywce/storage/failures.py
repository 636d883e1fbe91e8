"""Failures of the storage (full, read-only, out of reach): recognised among other errors, and waited for."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tenacity import retry, retry_if_exception, stop_after_delay, wait_exponential

from raywce.errors import InputError, RunFailed

PATIENCE_S = 180.0  # how long a storage may be out of reach
# Errors of other processes come as text, and those of pyarrow without a number.
_STAYING = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)))
_UNSHARED = "is not shared by all nodes"
_TIMED_OUT = os.strerror(errno.ETIMEDOUT)  # without a file it may be a connection between workers
_PASSING = tuple(map(os.strerror, (errno.EIO, errno.ESTALE, errno.ENOTCONN)))
_PASSING += ("AWS Error NETWORK_CONNECTION", "AWS Error SLOW_DOWN", "AWS Error SERVICE_UNAVAILABLE")
_PASSING += ("AWS Error INTERNAL_FAILURE", "AWS Error REQUEST_TIMEOUT")
_PASSING += ("google::cloud::Status(UNAVAILABLE", "google::cloud::Status(DEADLINE_EXCEEDED")
# Without a code, Azure has not answered.
_PASSING += tuple(f"Azure Error: [{code}]" for code in ("", "ServerBusy", "InternalError", "OperationTimedOut"))
_TELLTALES = (*_STAYING, *_PASSING, "AWS Error", "Azure Error", _UNSHARED)
_FILE = re.compile(r"'(/[^']+)'")


def is_storage_failure(text: str) -> bool:
    """Return whether the text of an error says that a file could not be written."""
    return any(telltale in text for telltale in _TELLTALES) or (_TIMED_OUT in text and bool(_FILE.search(text)))


def is_passing(text: str) -> bool:
    """Return whether the text says that something is out of reach or overloaded, which often passes by itself."""
    return any(telltale in text for telltale in (*_PASSING, _TIMED_OUT))


def unshared(file: str) -> str:
    """Return the failure of a storage in which this node does not see a file that another one wrote."""
    return f"storage {_UNSHARED}, {socket.gethostname()} has no {file}; set it to a shared folder or a URI"


patiently = retry(
    retry=retry_if_exception(lambda error: isinstance(error, OSError) and is_passing(str(error))),
    wait=wait_exponential(min=0.5, max=10),
    stop=stop_after_delay(PATIENCE_S),
    reraise=True,
)
"""Decorator: repeat a call for up to `PATIENCE_S` while the storage is out of reach."""


@contextmanager
def report_storage_failures(uri: str) -> Iterator[None]:
    """Report in the block that the run folder at `uri`, or another file, can't be written, and how to resume.

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
        named = _FILE.search(reason)
        # A node's own disk, of its cache for instance, may be what is full.
        what = f"{named[1]} can't be read or written" if named and uri not in named[1] else f"{uri} can't be written"
        message = f"{what}: {reason}. Nothing finished is lost: free space or give access, "
        raise RunFailed(f"{message}then run the same command to resume") from error


def _reason(error: BaseException | None) -> str | None:
    """Return the line that names the failure, from the error itself or one of its causes."""
    while error is not None:
        for line in str(error).splitlines():
            if is_storage_failure(line):
                return line.strip()
        error = error.__cause__ or error.__context__
    return None
