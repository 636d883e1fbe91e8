from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from datetime import timedelta

import pytest
from pyarrow import fs

from raywce.errors import InputError, Problem, RunFailed
from raywce.storage import failures as storage
from raywce.storage.failures import is_passing, is_storage_failure, report_storage_failures


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OSError: [Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device", True),
        ("[Errno 30] Read-only file system: '/runs/x'", True),
        ("AWS Error ACCESS_DENIED during PutObject operation", True),
        ("[Errno 110] Connection timed out: '/runs/x/trials.parquet'", True),
        ("[gloo/transport/tcp/pair.cc:525] Read error [10.0.0.7]:34211: Connection timed out", False),
        ("loss is not finite at step 3", False),
    ],
)
def test_what_is_a_failure_of_the_storage(text: str, expected: bool) -> None:
    assert is_storage_failure(text) is expected


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("google::cloud::Status(UNAVAILABLE: Retry policy exhausted, with a last message of Received HTTP 503", True),
        (
            "[Errno 13] google::cloud::Status(PERMISSION_DENIED: Permanent error). Detail: Permission denied",
            False,
        ),
        ("GetFileInfo failed. Azure Error: [ServerBusy] 503 Service Unavailable\nThe server is busy.", True),
        ("GetFileInfo failed. Azure Error: [AuthorizationFailure] 403 Forbidden\nNo.", False),
    ],
)
def test_failures_of_google_and_azure_are_the_storages(text: str, passes: bool) -> None:
    assert is_storage_failure(text)
    assert is_passing(text) is passes


def test_a_missing_object_is_no_failure_of_the_storage() -> None:
    text = "[Errno 2] google::cloud::Status(NOT_FOUND: Permanent error). Detail: [errno 2] No such file or directory"
    assert not is_storage_failure(text)


def google(port: int) -> fs.FileSystem:
    limit = timedelta(milliseconds=1)
    return fs.GcsFileSystem(
        anonymous=True, scheme="http", endpoint_override=f"127.0.0.1:{port}", retry_time_limit=limit
    )


def azure(port: int) -> fs.FileSystem:
    return fs.AzureFileSystem(
        account_name="account",
        account_key="a2V5",
        blob_storage_authority=f"127.0.0.1:{port}",
        dfs_storage_authority=f"127.0.0.1:{port}",
        blob_storage_scheme="http",
        dfs_storage_scheme="http",
    )


@pytest.mark.parametrize(
    "storage_of", [google, pytest.param(azure, marks=pytest.mark.slow)]
)  # pyarrow tries six seconds
def test_a_storage_that_does_not_answer_is_out_of_reach(storage_of: Callable[[int], fs.FileSystem]) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r"Could not connect|Connection refused") as raised:
            storage_of(unheard.getsockname()[1]).get_file_info("bucket/runs/a")
    assert is_passing(str(raised.value))


def test_a_failure_of_the_storage_is_reported_with_how_to_resume_also_where_it_is_wrapped() -> None:
    def write() -> None:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/runs/a/trials.parquet")
        except OSError as error:
            raise ValueError("the run failed; see above") from error

    said = r"/runs/a can't be written: .*No space left.*run the same command to resume"
    with pytest.raises(RunFailed, match=said), report_storage_failures("/runs/a"):
        write()


def test_another_file_is_named_in_its_place() -> None:
    said = r"^/cache/de\.arrow can't be read or written: .*No space left.*run the same command to resume"
    with pytest.raises(RunFailed, match=said), report_storage_failures("/runs/a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/cache/de.arrow")


def test_workers_that_lose_each_other_are_tried_again_and_are_no_failure_of_the_storage() -> None:
    text = "NCCL error: Call to recv from 10.0.0.7<5000> failed : Connection timed out"
    assert storage.is_passing(text)
    assert not is_storage_failure(text)


@pytest.mark.parametrize(
    "error", [InputError([Problem("a", "b")]), ValueError("a bug"), RunFailed("all trials failed")]
)
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, report_storage_failures("/runs/a"):
        raise error
    assert raised.value is error


def test_what_the_storage_refuses_for_a_while_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    refusals = ["AWS Error NETWORK_CONNECTION during PutObject", "AWS Error SLOW_DOWN during PutObject"]

    @storage.patiently
    def write() -> str:
        if refusals:
            raise OSError(refusals.pop(0))
        return "written"

    assert write() == "written"


def test_what_it_refuses_for_good_is_not() -> None:
    calls = []

    @storage.patiently
    def write() -> None:
        calls.append(1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        write()
    assert len(calls) == 1
