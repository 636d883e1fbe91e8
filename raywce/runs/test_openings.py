"""Records of when a run's test split was opened and by which command; a second opening needs a flag."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypedDict

from raywce.errors import fail
from raywce.runs.folder import EXPERIMENT, RunFolder
from raywce.storage.files import is_uri

_DEPTH = 4  # <run>/trials/<trial>/<checkpoint>
RECORD = "test_split.json"
FLAG = "--open-test-again"
SEARCH, EVALUATE = "raywce search", "raywce evaluate"


class Opening(TypedDict):
    """A record of an opening."""

    opened: str
    command: str
    models: list[str]
    again: bool


def openings(folder: RunFolder) -> list[Opening]:
    """Return every opening of the test split for this run, in order."""
    found: list[Opening] = json.loads(folder.read_text(RECORD)) if folder.has(RECORD) else []
    return found


def open_test_split(folder: RunFolder, command: str, models: Sequence[str], again: bool) -> None:
    """Record that the test split is opened, before any of it is read.

    Args:
        folder: of the run whose models are tested.
        command: that opens it; a search that is resumed uses its own earlier opening.
        models: that are tested.
        again: whether a second opening is allowed.

    Raises:
        InputError: it was opened before, and `again` is false.
    """
    before = openings(folder)
    if command == SEARCH and any(opening["command"] == SEARCH for opening in before):
        return
    if before and not again:
        got = f"{before[-1]['command']} on {before[-1]['opened']}"
        do = f"A choice made after the test split was seen is no valid result. {FLAG} opens it anyway, and is recorded"
        fail("the test split", f"must be opened only once in a run ({folder.path(RECORD)})", got, do)
    opened = datetime.now(UTC).isoformat(timespec="seconds")
    opening = {"opened": opened, "command": command, "models": list(models), "again": bool(before)}
    folder.write_text(RECORD, json.dumps([*before, opening], indent=2) + "\n")


def run_of_model(model: str) -> RunFolder | None:
    """Return the run folder that a model folder is in, if any."""
    if not model.startswith("/") and not is_uri(model):
        return None  # a Hub id
    parent = model.rstrip("/")
    for _ in range(_DEPTH):
        parent = parent.rpartition("/")[0]
        if parent and not parent.endswith("/") and RunFolder(parent).has(EXPERIMENT):
            return RunFolder(parent)
    return None
