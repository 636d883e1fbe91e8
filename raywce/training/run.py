"""`raywce train`: one trial as a run of its own, with a run folder, a log, and the model at the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa

from raywce.experiment.schema import Experiment
from raywce.runs.folder import CHECKPOINT, STATE_FILE, RunFolder, checkpoint_name
from raywce.storage import files
from raywce.training.trial import run_trial
from raywce.trial_report import Report

NAME, REPORTS, MODEL = "train", "reports.parquet", "model"
_CONFIG = "config.json"
_RENAMED = {"on_the_way": "intermediate"}  # columns of older runs


@dataclass(frozen=True)
class TrainOutcome:
    """Outcome of a training.

    Attributes:
        model: the transformers folder of the last step.
        languages: low-resource ones first.
        reports: by step, in order.
        checkpoints: by step, the path or URI of each checkpoint that is kept.
    """

    model: str
    languages: list[str]
    reports: list[Report]
    checkpoints: dict[int, str]

    @property
    def evaluations(self) -> list[Report]:
        """Return the reports that hold an evaluation."""
        return [report for report in self.reports if report.objective is not None]

    @property
    def original(self) -> Report | None:
        """Return the evaluation before the first step, where there was one."""
        return next((report for report in self.evaluations if report.step == 0), None)

    @property
    def lowest(self) -> Report:
        """Return the evaluation with the lowest low-resource error, of those on the whole of dev."""
        return min(self._comparable(), key=_objective)

    @property
    def best(self) -> Report | None:
        """Return the lowest of the evaluations whose checkpoint is kept; None where no checkpoint is."""
        kept = [report for report in self._comparable() if report.step in self.checkpoints]
        return min(kept, key=_objective, default=None)

    def _comparable(self) -> list[Report]:
        return [report for report in self.evaluations if not report.intermediate]

    def as_json(self) -> dict[str, object]:
        """Return the figures: each report without what it lacks."""
        step = self.best.step if self.best else None
        return {
            "model": self.model,
            "best_step": step,
            "best_checkpoint": None if step is None else self.checkpoints[step],
            "reports": [report.flat() for report in self.reports],
        }


@dataclass
class _Log:
    """The run's reports, kept in the run folder so that a resumed run still has the earlier ones."""

    folder: RunFolder
    show: Callable[[Report], None]
    by_step: dict[int, Report] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.folder.has(REPORTS):
            table = self.folder.read_table(REPORTS)
            table = table.rename_columns([_RENAMED.get(name, name) for name in table.column_names])
            self.by_step = {row["step"]: Report.of(row) for row in table.to_pylist()}

    def add(self, report: Report) -> None:
        """Add a report; that of a step repeated after a lost worker replaces the first one."""
        self.by_step[report.step] = report
        rows = [one.flat() for one in self.reports]
        names = {name: None for row in rows for name in row}
        table = {name: [row.get(name) for row in rows] for name in names}
        self.folder.write_table(REPORTS, pa.table(table))
        self.show(report)

    @property
    def reports(self) -> list[Report]:
        return [self.by_step[step] for step in sorted(self.by_step)]


def train_run(experiment: Experiment, folder: RunFolder, show: Callable[[Report], None]) -> TrainOutcome:
    """Fine-tune, or resume what was begun in `folder` and is not finished; a connected cluster is expected.

    Args:
        experiment: with a value in every leaf.
        folder: opened.
        show: called with each report as it comes.

    Raises:
        TrialFailed: the training can't be finished.
    """
    log = _Log(folder, show)
    run_trial(experiment, folder.uri, NAME, log.add)
    _copy_model(folder, experiment.training.steps)
    return _outcome(experiment, folder, log)


def finished_run(experiment: Experiment, folder: RunFolder) -> TrainOutcome | None:
    """Return the outcome of a finished training, without a cluster; None where it is not finished."""
    return _outcome(experiment, folder, _Log(folder, lambda report: None)) if has_model(folder) else None


def _outcome(experiment: Experiment, folder: RunFolder, log: _Log) -> TrainOutcome:
    return TrainOutcome(folder.path(MODEL), experiment.languages.all, log.reports, _checkpoints(folder))


def _checkpoints(folder: RunFolder) -> dict[int, str]:
    """Find the checkpoints: Ray Train keeps the best one, as it sees it, and the last one; others may remove them."""
    found = files.entries(folder.path(NAME))
    names = sorted(one.base_name for one in found if one.base_name.startswith(CHECKPOINT))
    return {int(name.removeprefix(CHECKPOINT)): folder.path(NAME, name) for name in names}


def has_model(folder: RunFolder) -> bool:
    """Return whether the training is finished: its model's configuration is written last."""
    return folder.has(f"{MODEL}/{_CONFIG}")


def _copy_model(folder: RunFolder, step: int) -> None:
    """Copy the last checkpoint without the training's state."""
    source = folder.path(NAME, checkpoint_name(step))
    names = {one.base_name for one in files.entries(source)} - {STATE_FILE}
    for name in sorted(names, key=lambda name: (name == _CONFIG, name)):
        files.copy_file(f"{source}/{name}", folder.path(MODEL, name))


def _objective(report: Report) -> float:
    return math.inf if report.objective is None else report.objective
