"""The outcome of a finished search, written to and read from `outcome.json`."""

from __future__ import annotations

from pydantic import TypeAdapter

from raywce.runs.folder import OUTCOME, RunFolder
from raywce.selection.outcome import SearchOutcome


def write_outcome(folder: RunFolder, outcome: SearchOutcome) -> None:
    """Write the outcome; a search with this file is finished."""
    folder.write_text(OUTCOME, outcome.to_json())


def read_outcome(folder: RunFolder) -> SearchOutcome | None:
    """Return the outcome; None where the search is not finished.

    Raises:
        ValidationError: the file is damaged.
    """
    if not folder.has(OUTCOME):
        return None
    return TypeAdapter(SearchOutcome).validate_json(folder.read_text(OUTCOME))
