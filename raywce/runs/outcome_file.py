"""`outcome.json`: what a finished search came to, written and read."""

from __future__ import annotations

from pydantic import TypeAdapter

from raywce.runs.folder import OUTCOME, RunFolder
from raywce.selection.outcome import SearchOutcome


def write_outcome(folder: RunFolder, outcome: SearchOutcome) -> None:
    """Keep what the search came to; the file stands for its end."""
    folder.write_text(OUTCOME, outcome.to_json())


def read_outcome(folder: RunFolder) -> SearchOutcome | None:
    """Return what the search came to; None where it is not finished.

    Raises:
        ValidationError: the file is damaged.
    """
    if not folder.has(OUTCOME):
        return None
    return TypeAdapter(SearchOutcome).validate_json(folder.read_text(OUTCOME))
