"""Which of a run's trained models is exported, and what the run says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pyarrow import fs

from raywce.errors import fail
from raywce.experiment.load import ExperimentFile
from raywce.experiment.recorded import recorded
from raywce.experiment.schema import Experiment
from raywce.run_folder import OUTCOME, TRIALS, RunFolder, checkpoint_name
from raywce.search.tables import BASELINE, COMPLETE, CONFIRM, PHASES, as_drawn, rows_in, values_of
from raywce.training.run import MODEL, REPORTS

Kind = Literal["confirmed", "best", "asked for", "trained"]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """One trained model of a run.

    Attributes:
        kind: why this one: the confirm phase's winner, the search's best feasible trial, asked for by its id, or the
            only one of a `raywce train` run.
        trial_id: of the training whose weights they are; empty for a `raywce train` run.
        checkpoint: path or URI of its transformers folder.
        experiment: with the values that it was trained with, its seed too.
        rows: its rows of the table, or its reports, by step.
        outcome: what the search came to, as in `outcome.json`; None without one.
    """

    folder: RunFolder
    kind: Kind
    trial_id: str
    checkpoint: str
    experiment: Experiment
    rows: Sequence[Row]
    outcome: dict[str, Any] | None = None

    @property
    def last(self) -> Row:
        """Of the last step, with the model's figures."""
        return self.rows[-1]

    @property
    def drawn(self) -> dict[str, int]:
        """Utterances that the training drew, by language; each row has those since the one before."""
        languages = self.experiment.languages.all
        return {name: sum(int(row.get(f"utterances_seen/{name}") or 0) for row in self.rows) for name in languages}


def find_source(run: str, trial: str | None = None) -> Source:
    """The winner of a search, the model of a training, or the trial asked for.

    Args:
        run: path or URI of a run folder.
        trial: the id of a trial that is complete; None: the winner.

    Raises:
        InputError: there is no such run, nothing feasible, no such trial, or its checkpoint is gone.
    """
    folder = RunFolder.at(run)
    file = recorded(folder)
    source = _of_search(folder, file, trial) if folder.has(TRIALS) else _of_training(folder, file, trial)
    if not _is_there(source.checkpoint):
        do = f"Train it again, or take another by --trial; known: {', '.join(_complete(rows_in(folder)))}"
        fail("RUN", "must still have the model's checkpoint", f"nothing at {source.checkpoint}", do)
    return source


def _of_training(folder: RunFolder, file: ExperimentFile, trial: str | None) -> Source:
    if trial:
        fail("--trial", "must be left out for a run of raywce train, which has one model", trial)
    if not folder.has(MODEL):
        fail("RUN", "must be finished", f"no model in {folder.uri} yet", "Go on with the command that began it")
    reports = sorted(folder.read_table(REPORTS).to_pylist(), key=lambda row: int(row["step"]))
    return Source(folder, "trained", "", folder.path(MODEL), file.concrete(), reports)


def _of_search(folder: RunFolder, file: ExperimentFile, trial: str | None) -> Source:
    rows = rows_in(folder)
    outcome = json.loads(folder.read_text(OUTCOME)) if folder.has(OUTCOME) else None
    asked_for: tuple[Kind, str] | None = ("asked for", trial) if trial else None
    kind, trial_id = asked_for or _winner(folder, outcome, rows)
    done = _complete(rows)
    if trial_id not in done:
        fail("--trial", "must be a trial of the run that is complete", trial_id, f"Known: {', '.join(done)}")
    last = done[trial_id]
    experiment = _experiment(file, last)
    checkpoint = folder.path("trials", trial_id, checkpoint_name(last["step"]))
    of_trial = sorted((row for row in rows if row["trial_id"] == trial_id), key=lambda row: int(row["step"]))
    return Source(folder, kind, trial_id, checkpoint, experiment, of_trial, outcome)


def _winner(folder: RunFolder, outcome: dict[str, Any] | None, rows: list[dict[str, Any]]) -> tuple[Kind, str]:
    if outcome is None:
        do = "Go on with the command that began it, or take one of its trials by --trial"
        fail("RUN", "must be a finished search", f"no {OUTCOME} in {folder.uri}", do)
    winner = outcome["confirmation"] and outcome["confirmation"]["choice"]["winner"]
    if winner:
        # The first seed, whatever its figures: the means over the seeds are what it may be expected to have.
        of_winner = [row for row in _complete(rows).values() if row["phase"] == CONFIRM and row["candidate"] == winner]
        return "confirmed", min(of_winner, key=lambda row: int(row["seed"]))["trial_id"]
    if outcome["best"] is None:
        nearest = outcome["nearest"]["trial_id"].partition(",")[0]
        do = f"--trial {nearest} takes the nearest one all the same"
        fail("RUN", "must have a feasible trial", f"none among {outcome['trials']}", do)
    return "best", outcome["best"]["trial_id"].partition(",")[0]  # of a grid's setting, its first seed


def _complete(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each complete trial's last row, by id, in the order of the phases."""
    done = [row for row in rows if row["state"] == COMPLETE and row["final"]]
    return {row["trial_id"]: row for row in sorted(done, key=lambda row: PHASES.index(row["phase"]))}


def _experiment(file: ExperimentFile, row: Row) -> Experiment:
    is_baseline = BASELINE in (row["phase"], row["candidate"])
    experiment = file.baseline() if is_baseline else file.at(as_drawn(values_of(row), file.optuna_space))
    training = experiment.training.model_copy(update={"seed": row["seed"]})
    return experiment.model_copy(update={"training": training})


def _is_there(checkpoint: str) -> bool:
    filesystem, path = fs.FileSystem.from_uri(f"{checkpoint}/config.json")
    return bool(filesystem.get_file_info(path).type is fs.FileType.File)
