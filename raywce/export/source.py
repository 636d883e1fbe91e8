"""The model of a run that is exported, with its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from raywce.errors import fail
from raywce.evaluation.metric import Metrics
from raywce.experiment.load import ExperimentFile
from raywce.experiment.schema import Experiment
from raywce.runs.folder import OUTCOME, TRIALS, RunFolder, checkpoint_name
from raywce.runs.json_files import read_outcome
from raywce.runs.recorded import recorded
from raywce.runs.tables import rows_in
from raywce.selection.averages import Averaged
from raywce.selection.outcome import Confirmation, SearchOutcome
from raywce.selection.robustness import RobustnessFigures
from raywce.selection.trials import BASELINE, COMPLETE, CONFIRM, PHASES, Row, values_of
from raywce.storage.files import exists
from raywce.training.run import MODEL, REPORTS, has_model
from raywce.trial_report import Report

Kind = Literal["average", "confirmed", "best", "by id", "trained"]
"""A row of the table of trials, or a report of a training."""


@dataclass(frozen=True)
class Source:
    """One trained model of a run.

    Attributes:
        kind: why this one: the average of the trainings of the confirm phase's winner, the first of them where the
            average isn't confirmed itself, the best feasible trial of the search, selected by its id, or the only one
            of a `raywce train` run.
        trial_id: of the training whose weights they are, the first of an average; empty for a `raywce train` run.
        checkpoint: path or URI of its transformers folder.
        experiment: with the values that it was trained with, its seed too.
        rows: its rows of the table, or its reports, by step.
        outcome: of the search; None without one.
        others: the other trainings' folders, of an average.
        seeds: of an average's trainings.
    """

    folder: RunFolder
    kind: Kind
    trial_id: str
    checkpoint: str
    experiment: Experiment
    rows: Sequence[Row]
    outcome: SearchOutcome | None = None
    others: Sequence[str] = ()
    seeds: Sequence[int] = ()

    @property
    def last(self) -> Row:
        """Row of the last step, with the model's figures."""
        return self.rows[-1]

    @property
    def title(self) -> str:
        """A description, in one line."""
        if self.averaged:
            return f"average of {self.averaged.candidate}'s {self.averaged.seeds} trainings, step {self.last['step']}"
        return f"{self.trial_id or self.experiment.name} ({self.kind}), step {self.last['step']}"

    @property
    def confirmation(self) -> Confirmation | None:
        """Outcome of the confirm phase whose winner it is; None for other models."""
        return self.outcome.confirmation if self.outcome and self.kind in ("average", "confirmed") else None

    @property
    def averaged(self) -> Averaged | None:
        """What is claimed of the average, where it is one."""
        return self.confirmation.taken if self.confirmation else None

    @property
    def robustness(self) -> RobustnessFigures | None:
        """What was measured beside the rates, of the model to take; None for other models."""
        return self.confirmation.robustness if self.confirmation else None

    @property
    def wer(self) -> Mapping[str, float]:
        """Each language's own rate after the last step, a fraction."""
        return self._rates(self.experiment.metrics)

    @property
    def plain_wer(self) -> Mapping[str, float]:
        """The same, not capped."""
        return self._rates(self.experiment.metrics.plain)

    def _rates(self, metrics: Metrics) -> dict[str, float]:
        found = metrics.deciding(Report.of(self.last).rates)
        return {name: found[name] for name in self.experiment.languages.decoded}

    @property
    def drawn(self) -> dict[str, int]:
        """Utterances drawn in training, by language; each row has those since the row before."""
        languages = self.experiment.languages.all
        seen = [Report.of(row).utterances_seen for row in self.rows]
        return {name: sum(int(of.get(name, 0)) for of in seen) for name in languages}


def find_source(run: str, trial: str | None = None) -> Source:
    """Return the winner of a search, the model of a training, or the given trial.

    Args:
        run: path or URI of a run folder.
        trial: the id of a trial that is complete; None: the winner.

    Raises:
        InputError: there is no such run, nothing feasible, no such trial, or its checkpoint is gone.
    """
    folder = RunFolder.at(run)
    file = recorded(folder)
    source = _of_search(folder, file, trial) if folder.has(TRIALS) else _of_training(folder, file, trial)
    if not _is_kept(source.checkpoint):
        known = ", ".join(_complete(rows_in(folder, file.space)))
        do = f"Train it again, or select another with --trial; known: {known}"
        fail("RUN", "must still hold the model's checkpoint", f"nothing at {source.checkpoint}", do)
    return source


def _of_training(folder: RunFolder, file: ExperimentFile, trial: str | None) -> Source:
    if trial:
        fail("--trial", "must be left out for a run of raywce train, which has one model", trial)
    if not has_model(folder):
        fail("RUN", "must be finished", f"no model in {folder.uri} yet", "Resume it with the command that started it")
    reports = sorted(folder.read_table(REPORTS).to_pylist(), key=lambda row: int(row["step"]))
    return Source(folder, "trained", "", folder.path(MODEL), file.concrete(), reports)


def _of_search(folder: RunFolder, file: ExperimentFile, trial: str | None) -> Source:
    rows = rows_in(folder, file.space)
    outcome = read_outcome(folder)
    done = _complete(rows)
    by_id: tuple[Kind, list[str]] | None = ("by id", [trial]) if trial else None
    kind, (trial_id, *others) = by_id or _winner(folder, outcome, done)
    if trial_id not in done:
        fail("--trial", "must be a trial of the run that is complete", trial_id, f"Known: {', '.join(done)}")
    last = done[trial_id]
    checkpoint, *behind = (_checkpoint(folder, done[one]) for one in (trial_id, *others))
    of_trial = sorted((row for row in rows if row["trial_id"] == trial_id), key=lambda row: int(row["step"]))
    seeds = [int(done[one]["seed"]) for one in (trial_id, *others)] if others else []
    return Source(folder, kind, trial_id, checkpoint, _experiment(file, last), of_trial, outcome, behind, seeds)


def _winner(folder: RunFolder, outcome: SearchOutcome | None, done: Mapping[str, Row]) -> tuple[Kind, list[str]]:
    """Return the trainings of the model to take, and why it is that one; `done` is of `_complete`."""
    if outcome is None:
        do = "Resume it with the command that started it, or select one of its trials with --trial"
        fail("RUN", "must be a finished search", f"no {OUTCOME} in {folder.uri}", do)
    confirmation = outcome.confirmation
    if confirmation and confirmation.choice.winner:
        winner = confirmation.choice.winner
        of_winner = [row for row in done.values() if row["phase"] == CONFIRM and row["candidate"] == winner]
        trainings = [str(row["trial_id"]) for row in sorted(of_winner, key=lambda row: int(row["seed"]))]
        # Of single ones the first seed, whatever its figures: the means over the seeds are what to expect of it.
        return ("average", trainings) if confirmation.taken else ("confirmed", trainings[:1])
    if outcome.best is None:
        assert outcome.nearest is not None
        nearest = outcome.nearest.trial_ids[0]
        do = f"Use --trial {nearest} to export the nearest one anyway"
        fail("RUN", "must have a feasible trial", f"none among {outcome.trials}", do)
    # Of a grid's setting, its first seed of which the model is kept.
    ids = outcome.best.trial_ids
    return "best", [next((one for one in ids if _is_kept(_checkpoint(folder, done[one]))), ids[0])]


def _checkpoint(folder: RunFolder, row: Row) -> str:
    """Return the path or URI of a trial's last checkpoint."""
    return folder.path("trials", row["trial_id"], checkpoint_name(row["step"]))


def _is_kept(checkpoint: str) -> bool:
    return exists(f"{checkpoint}/config.json")


def _complete(rows: Sequence[Row]) -> dict[str, Row]:
    """Return each complete trial's last row, by id, in the order of the phases."""
    done = [row for row in rows if row["state"] == COMPLETE and row["final"]]
    return {row["trial_id"]: row for row in sorted(done, key=lambda row: PHASES.index(row["phase"]))}


def _experiment(file: ExperimentFile, row: Row) -> Experiment:
    is_baseline = BASELINE in (row["phase"], row["candidate"])
    experiment = file.baseline() if is_baseline else file.at(values_of(row))
    training = experiment.training.model_copy(update={"seed": row["seed"]})
    return experiment.model_copy(update={"training": training})
