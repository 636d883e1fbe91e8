"""Candidates and outcome of a search, in `candidates.json` and `outcome.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from raywce.errors import fail, one_line
from raywce.runs.folder import CANDIDATES, OUTCOME, RunFolder
from raywce.selection.candidates import Candidate
from raywce.selection.outcome import SearchOutcome
from raywce.valid_json import as_json

Read = TypeVar("Read")


def write_outcome(folder: RunFolder, outcome: SearchOutcome) -> None:
    """Write the outcome; a search with this file is finished."""
    folder.write_text(OUTCOME, outcome.to_json())


def read_outcome(folder: RunFolder) -> SearchOutcome | None:
    """Return the outcome; None where the search is not finished.

    Raises:
        InputError: the file is damaged, or from another version.
    """
    return _read(folder, OUTCOME, TypeAdapter(SearchOutcome))


def write_candidates(folder: RunFolder, candidates: Sequence[Candidate]) -> None:
    """Write the candidates; a confirm phase that is resumed has the same."""
    folder.write_text(CANDIDATES, as_json([asdict(one) for one in candidates]))


def read_candidates(folder: RunFolder) -> list[Candidate] | None:
    """Return the candidates; None where the confirm phase has not begun.

    Raises:
        InputError: the file is damaged, or from another version.
    """
    return _read(folder, CANDIDATES, TypeAdapter(list[Candidate]))


def _read(folder: RunFolder, name: str, adapter: TypeAdapter[Read]) -> Read | None:
    if not folder.has(name):
        return None
    try:
        return adapter.validate_json(folder.read_text(name))
    except ValidationError as error:
        got = one_line(f"{error.error_count()} errors, the first: {error.errors()[0]['msg']}")
        do = "It is damaged or from another version: search again under another name, or under that version."
        fail(folder.path(name), "must be as the run wrote it", got, do)
