"""A run folder as a report reads it: the file, the table of trials, and their outcome."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pyarrow as pa
from pydantic import ValidationError

from raywce.errors import RunFailed, fail, one_line
from raywce.experiment.load import ExperimentFile
from raywce.experiment.schema import Experiment
from raywce.runs.folder import EXPERIMENT, TRIALS, UTTERANCES, VERSIONS, RunFolder
from raywce.runs.json_files import read_outcome
from raywce.runs.recorded import recorded
from raywce.runs.tables import TrialTable, decoded_of_dev
from raywce.selection.outcome import SearchOutcome, outcome
from raywce.selection.trials import SEARCH

_CLOCK = "search_clock.json"
Read = TypeVar("Read")


@dataclass(frozen=True)
class Run:
    """The content of a run folder.

    Attributes:
        outcome: from the table as it is now; None without a baseline or a completed trial.
        why_no_outcome: the reason, if there is none.
        finished: whether the search has written its outcome.
    """

    folder: RunFolder
    file: ExperimentFile
    table: TrialTable
    versions: dict[str, str | None]
    outcome: SearchOutcome | None
    why_no_outcome: str | None
    finished: bool
    search_seconds: float | None

    @property
    def experiment(self) -> Experiment:
        """The experiment of the file, searched keys at a value each."""
        return self.file.experiment

    def decoded(self, trainings: Sequence[tuple[str, str]]) -> list[pa.Table] | None:
        """Return what trainings, given by phase and id, decoded last of dev; None if one is not in the table yet."""
        return _readable(self.folder.path(UTTERANCES), lambda: decoded_of_dev(self.folder, trainings))


def read_run(folder: RunFolder) -> Run:
    """Read a search's run folder, finished or not.

    Raises:
        InputError: it is no run folder, or a file in it can't be read.
    """
    for name in (EXPERIMENT, TRIALS):
        if not folder.has(name):
            do = "Give the folder <storage>/<name> of a `raywce search` that has started."
            rule = f"must be a search's run folder, with {EXPERIMENT} and {TRIALS}"
            fail("RUN", rule, f"no {name} in {folder.uri}", do)
    file = recorded(folder)
    table = _readable(folder.path(TRIALS), lambda: TrialTable.open(folder, file.space, file.experiment.languages))
    stored = read_outcome(folder)
    judged, why_not = _judged(table, file, stored)
    clock = _json(folder, _CLOCK)
    return Run(
        folder=folder,
        file=file,
        table=table,
        versions=_json(folder, VERSIONS) or {},
        outcome=judged,
        why_no_outcome=why_not,
        finished=stored is not None,
        search_seconds=clock["seconds"] if clock else None,
    )


def _judged(
    table: TrialTable, file: ExperimentFile, stored: SearchOutcome | None
) -> tuple[SearchOutcome | None, str | None]:
    out_of_time = stored is not None and len(table.trial_ids(SEARCH)) < file.trials
    try:
        found = outcome(table, file.experiment, stored.tables if stored else {}, out_of_time)
    except RunFailed as error:
        return None, str(error)
    if stored:
        found = replace(found, confirmation=stored.confirmation, choice=stored.choice, notes=stored.notes)
    return found, None


def _json(folder: RunFolder, name: str) -> dict[str, Any] | None:
    if not folder.has(name):
        return None
    return dict(_readable(folder.path(name), lambda: json.loads(folder.read_text(name))))


def _readable(path: str, read: Callable[[], Read]) -> Read:
    """Return what `read` returns; a broken file is bad input."""
    try:
        return read()
    except (pa.ArrowInvalid, ValidationError, ValueError, KeyError) as error:
        do = "It is damaged or from another version. Run the search's command to write it again."
        fail(path, "must be as the run wrote it", one_line(f"{type(error).__name__}: {error}")[:200], do)
