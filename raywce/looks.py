"""Who opened a run's test split, and when: a second look is refused without a flag, and either is on record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from raywce.errors import fail
from raywce.run_folder import EXPERIMENT, RunFolder

_DEPTH = 4  # <run>/trials/<trial>/<checkpoint>
RECORD = "test_split.json"
FLAG = "--open-test-again"
SEARCH, EVALUATE = "raywce search", "raywce evaluate"


def looks(folder: RunFolder) -> list[dict[str, Any]]:
    """Every time the test split was opened for this run, in order."""
    found: list[dict[str, Any]] = json.loads(folder.read_text(RECORD)) if folder.has(RECORD) else []
    return found


def open_test_split(folder: RunFolder, command: str, models: Sequence[str], again: bool) -> None:
    """Record a look at the test split, before anything of it is read.

    Args:
        folder: of the run whose models are tested.
        command: who looks; a search that was interrupted goes on with its own look.
        models: what is tested.
        again: whether a second look was asked for.

    Raises:
        InputError: it was opened before, and `again` is not asked for.
    """
    before = looks(folder)
    if command == SEARCH and any(look["command"] == SEARCH for look in before):
        return
    if before and not again:
        got = f"{before[-1]['command']} on {before[-1]['opened']}"
        do = f"What is chosen after a look is no finding. {FLAG} opens it all the same, and is recorded"
        fail("the test split", f"must be opened once in a run ({folder.path(RECORD)})", got, do)
    opened = datetime.now(UTC).isoformat(timespec="seconds")
    look = {"opened": opened, "command": command, "models": list(models), "again": bool(before)}
    folder.write_text(RECORD, json.dumps([*before, look], indent=2) + "\n")


def run_of_model(model: str) -> RunFolder | None:
    """The run folder that a model folder is in, if any."""
    if not model.startswith("/") and "://" not in model:
        return None  # a Hub id
    parent = model.rstrip("/")
    for _ in range(_DEPTH):
        parent = parent.rpartition("/")[0]
        if parent and not parent.endswith("/") and RunFolder(parent).has(EXPERIMENT):
            return RunFolder(parent)
    return None
