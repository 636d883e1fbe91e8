"""One experiment's run folder, on a disk or behind a URI, written so that no half file is left."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout

import raywce
from raywce.errors import fail
from raywce.storage import files

EXPERIMENT, VERSIONS = "experiment.yaml", "versions.json"
CANDIDATES, OUTCOME = "candidates.json", "outcome.json"
TRIALS, UTTERANCES, REPORT = "trials.parquet", "utterances.parquet", "report.html"
STATE_FILE = "training_state.pt"  # beside the weights of a checkpoint, for a training that is resumed
CHECKPOINT = "step-"  # how the name of a checkpoint's folder begins
_PACKAGES = ("ray", "torch", "transformers", "optuna")


@dataclass(frozen=True)
class RunFolder:
    """`<storage>/<experiment>`, as an absolute path or a URI."""

    uri: str

    @classmethod
    def at(cls, place: str) -> RunFolder:
        """Return the folder at a path (relative ones too) or a URI."""
        return cls(place.rstrip("/") if files.is_uri(place) else str(Path(place).expanduser().resolve()))

    @classmethod
    def of(cls, storage: str, name: str) -> RunFolder:
        """Return the folder of the experiment `name` under a path (relative ones too) or a URI."""
        return cls(f"{cls.at(storage).uri.rstrip('/')}/{name}")

    def path(self, *parts: str) -> str:
        """Return the path or URI of a file or folder inside."""
        return "/".join([self.uri, *parts])

    @property
    def local(self) -> Path | None:
        """The folder, where it is on a disk."""
        return None if files.is_uri(self.uri) else Path(self.uri)

    def has(self, name: str) -> bool:
        """Return whether a file or folder of that name is inside."""
        return files.exists(self.path(name))

    def open(self, resolved: str) -> None:
        """Store the resolved file and the versions, where the folder is new; `check_same` comes before."""
        if not self.has(EXPERIMENT):
            self.write_text(VERSIONS, versions())
            self.write_text(EXPERIMENT, resolved)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other commands of the same machine, or the same network file system, out of a folder on a disk.

        Raises:
            InputError: another command is at work in it, or it can't be written.
        """
        if self.local is None:
            yield
            return
        lock = FileLock(self.local / ".lock")
        try:
            self.local.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            do = "Wait for it or stop it, or give this one another name or storage."
            fail("storage", "a run folder must belong to one command at a time", f"another in {self.uri}", do)
        except OSError as error:
            fail("storage", "the run folder must be writable", f"{self.uri} ({error.strerror})")
        try:
            yield
        finally:
            lock.release()

    def read_text(self, name: str) -> str:
        """Return a file's text."""
        return files.read_text(self.path(name))

    def write_text(self, name: str, text: str) -> None:
        """Replace a file by `text`, at once."""
        files.write_text(self.path(name), text)

    def read_table(self, name: str, filters: pc.Expression | None = None) -> pa.Table:
        """Return a parquet file's table, or those of its rows that pass the filter."""
        return files.read_table(self.path(name), filters)

    def write_table(self, name: str, table: pa.Table) -> None:
        """Replace a parquet file by `table`, at once."""
        files.write_table(self.path(name), table)


def checkpoint_name(step: int) -> str:
    """Return the name of the folder in which a training keeps the checkpoint of a step."""
    return f"{CHECKPOINT}{step:08d}"


def versions() -> str:
    """Return as JSON the versions that a run's figures depend on, and the git revision of a package in a checkout."""
    found = {"python": platform.python_version(), "raywce": raywce.__version__}
    found |= {name: version(name) for name in _PACKAGES}
    return json.dumps({**found, "git_revision": _git_revision()}, indent=2) + "\n"


def _git_revision() -> str | None:
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    try:
        # It fails where the package is installed into some other project's folder.
        subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=True)
        command = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
