"""A run folder as a report reads it: the file, the table of trials, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter, ValidationError

from raywce.errors import RunFailed, fail
from raywce.experiment.load import ExperimentFile
from raywce.experiment.recorded import recorded
from raywce.experiment.schema import Experiment
from raywce.run_folder import EXPERIMENT, OUTCOME, TRIALS, UTTERANCES, VERSIONS, RunFolder
from raywce.search.comparison import Choice, Comparison
from raywce.search.outcome import Confirmation, SearchOutcome, outcome
from raywce.search.tables import SEARCH, TrialTable, trial_schema

_CLOCK = "search_clock.json"
Read = TypeVar("Read")


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
        outcome: judged from the table as it stands; None where it has no baseline, or no completed trial.
        why_no_outcome: the reason then.
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
        """With a value in every leaf."""
        return self.file.experiment

    def utterances(self, trial_ids: Collection[str]) -> pa.Table | None:
        """What some trials decoded last; None where `utterances.parquet` was not written yet."""
        if not self.folder.has(UTTERANCES):
            return None
        wanted = pc.is_in(pc.field("trial_id"), pa.array(trial_ids, pa.string()))
        return _readable(self.folder.path(UTTERANCES), lambda: self.folder.read_table(UTTERANCES, wanted))


def read_run(folder: RunFolder) -> Run:
    """Read a search's run folder, finished or not.

    Raises:
        InputError: it is none, or a file in it can't be read.
    """
    for name in (EXPERIMENT, TRIALS):
        if not folder.has(name):
            do = "Give the folder <storage>/<name> of a `raywce search` that has begun."
            rule = f"must be a search's run folder, with {EXPERIMENT} and {TRIALS}"
            fail("RUN", rule, f"no {name} in {folder.uri}", do)
    file = recorded(folder)
    table = _readable(folder.path(TRIALS), lambda: _table(folder, file))
    stored = _json(folder, OUTCOME)
    judged, why_not = _judged(table, file, stored)
    if judged and stored:
        confirmation = _readable(folder.path(OUTCOME), lambda: _confirmation(stored["confirmation"]))
        judged = replace(judged, confirmation=confirmation, choice=stored["choice"])
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


def _table(folder: RunFolder, file: ExperimentFile) -> TrialTable:
    languages = file.experiment.languages
    return TrialTable.open(folder, trial_schema(file.optuna_space, languages.low_resource, languages.high_resource))


def _judged(
    table: TrialTable, file: ExperimentFile, stored: Mapping[str, Any] | None
) -> tuple[SearchOutcome | None, str | None]:
    out_of_time = stored is not None and len(table.trial_ids(SEARCH)) < file.trials
    tables: dict[str, str] = stored["tables"] if stored else {}
    try:
        return outcome(table, file.experiment, tables, out_of_time), None
    except RunFailed as error:
        return None, str(error)
    except (IndexError, KeyError):
        return None, "the baseline has no figures yet"


def _confirmation(stored: Mapping[str, Any] | None) -> Confirmation | None:
    if stored is None:
        return None
    comparison = TypeAdapter(Comparison)
    return Confirmation(
        dev=comparison.validate_python(stored["dev"]),
        choice=TypeAdapter(Choice).validate_python(stored["choice"]),
        values=stored["values"],
        failed=stored["failed"],
        tests={name: comparison.validate_python(test) for name, test in stored["tests"].items()},
        closed=stored["closed"],
    )


def _json(folder: RunFolder, name: str) -> dict[str, Any] | None:
    if not folder.has(name):
        return None
    found: dict[str, Any] = _readable(folder.path(name), lambda: json.loads(folder.read_text(name)))
    return found


def _readable(path: str, read: Callable[[], Read]) -> Read:
    """What `read` gives; a broken file is bad input."""
    try:
        return read()
    except (pa.ArrowInvalid, ValidationError, ValueError, KeyError) as error:
        do = "It is damaged, or was written by another version: the search's command writes it again."
        fail(path, "must be as the run wrote it", " ".join(f"{type(error).__name__}: {error}".split())[:200], do)
