"""The run folder's two tables: a row for each trial and report, and a row for each trial and dev utterance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from raywce.experiment.schema import Languages
from raywce.experiment.space import Distribution, Scalar, Space
from raywce.runs.folder import TRIALS, UTTERANCES, RunFolder
from raywce.selection.trials import CONFIG, ORIGINAL, PHASES, RUNNING, SEARCH, TEST, Row, Trials, values_of
from raywce.storage.files import read_table
from raywce.trial_report import RATES, Report

TESTS = "test"  # folder of what was decoded of test splits
AVERAGES = "averages"  # folder of what averages decoded of dev
ROBUSTNESS = "robustness"  # folder of what was decoded of hard cases
_CHOICES = {
    frozenset([bool]): pa.bool_(),
    frozenset([int]): pa.int64(),
    frozenset([float]): pa.float64(),
    frozenset([int, float]): pa.float64(),
}


@dataclass(frozen=True)
class Trial:
    """The trial that a row is about.

    Attributes:
        values: key path to value, of the leaves that are searched.
        candidate: in the confirm phase, whose setting it has.
    """

    phase: str
    trial_id: str
    seed: int
    values: Mapping[str, Scalar]
    candidate: str | None = None

    @property
    def row(self) -> Row:
        """The cells that are the same in all of its rows."""
        own = {"phase": self.phase, "trial_id": self.trial_id, "seed": self.seed, "candidate": self.candidate}
        return own | {f"{CONFIG}{path}": value for path, value in self.values.items()}


class TrialTable(Trials):
    """`trials.parquet`, in memory: the last report of a trial's step is the one that counts."""

    def __init__(self, space: Space, languages: Languages) -> None:
        super().__init__()
        self.schema = _schema(space, languages)

    @classmethod
    def open(cls, folder: RunFolder, space: Space, languages: Languages) -> TrialTable:
        """Return the folder's table, or an empty one where none was written yet."""
        table = cls(space, languages)
        for row in rows_in(folder, space):
            table.trials.setdefault(row["trial_id"], {})[row["step"]] = row
        return table

    def record(self, trial: Trial, report: Report) -> None:
        """Add a report; figures that the table has no column for are left out."""
        flat = report.flat()
        known = {name: flat[name] for name in self.schema.names if name in flat}
        rows = self.trials.setdefault(trial.trial_id, {})
        rows.pop(None, None)
        rows[report.step] = {**known, **trial.row, "state": RUNNING}

    def finish(self, trial: Trial, state: str, reason: str | None = None) -> None:
        """Set the state of all the trial's rows; one without a report gets a row without a step."""
        for row in self.trials.setdefault(trial.trial_id, {None: trial.row}).values():
            row.update(state=state, reason=reason)

    def to_arrow(self) -> pa.Table:
        """Return the rows by phase, trial and step; a choice of several kinds is text there (see `as_drawn`)."""
        rows = [row for phase in PHASES for of in self.of_phase(phase).values() for row in of]
        columns = {name: [row.get(name) for row in rows] for name in self.schema.names}
        for name in self.schema.names:
            if name.startswith(CONFIG) and self.schema.field(name).type == pa.string():
                columns[name] = [None if value is None else str(value) for value in columns[name]]
        return pa.table(columns, schema=self.schema)

    def write(self, folder: RunFolder) -> None:
        """Replace the folder's table, at once."""
        folder.write_table(TRIALS, self.to_arrow())


def rows_in(folder: RunFolder, space: Space) -> list[Row]:
    """Return the rows of a folder's table, with the values of `space` as drawn; none where no table was written yet.

    Tables of utterances that they name are looked for where the folder is now: it may have been moved.
    """
    rows = folder.read_table(TRIALS).to_pylist() if folder.has(TRIALS) else []
    for row in rows:
        _, inside, name = (row.get("utterances") or "").rpartition(f"/trials/{row['trial_id']}/")
        if inside:
            row["utterances"] = folder.path("trials", row["trial_id"], name)
    return [_with_drawn(row, space) for row in rows]


def as_drawn(values: Mapping[str, Scalar], space: Space) -> dict[str, Scalar]:
    """Return the values of a row of `trials.parquet` in the type of their draws."""
    return {path: _drawn(values.get(path), distribution) for path, distribution in space.items()}


def _drawn(value: Scalar, distribution: Distribution) -> Scalar:
    if value is None or distribution.kind != "choice":
        return value
    if distribution.holds(value):
        return distribution.as_drawn(value)
    return next((choice for choice in distribution.values if str(choice) == str(value)), value)


def _with_drawn(row: Row, space: Space) -> Row:
    others = {name: cell for name, cell in row.items() if not name.startswith(CONFIG)}
    return others | {f"{CONFIG}{path}": value for path, value in as_drawn(values_of(row), space).items()}


def _schema(space: Space, languages: Languages) -> pa.Schema:
    """Return the columns of `trials.parquet`.

    WER and CER are fractions; violations are points of a language's own rate, <= 0 where the constraint holds;
    `violation` is the largest one. Rows without an evaluation hold nulls there; so do the baseline's, with which others
    are compared, and each row for a watched language without a limit.
    `restarts` is how often the trial's workers had to be started again; `utterances` is the file of the row's decoded
    utterances; `ratios` has the loss ratio of each step since the row before. With fp16, `skipped_steps` counts the
    steps since the row before that changed no weight, as their gradients overflowed; `loss_scale` multiplies the
    losses. `precision` is what the training computes in, and `warning` what the card lacks for it.
    """
    fixed = [("phase", pa.string()), ("trial_id", pa.string()), ("candidate", pa.string())]
    fixed += [("seed", pa.int64()), ("step", pa.int64())]
    fixed += [("state", pa.string()), ("reason", pa.string()), ("final", pa.bool_())]
    fixed += [("feasible", pa.bool_()), ("violation", pa.float64())]
    by_language = [f"violation/{language}" for language in [*languages.high_resource, *languages.watched]]
    by_language += [f"alpha/{language}" for language in languages.low_resource]
    figures = {"utterances_seen": languages.all, **dict.fromkeys(RATES, languages.decoded), "loss": languages.all}
    by_language += [f"{figure}/{language}" for figure, of in figures.items() for language in of]
    configs = [(f"{CONFIG}{path}", _column_type(distribution)) for path, distribution in space.items()]
    last = [("objective", pa.float64()), ("time_s", pa.float64())]
    last += [("restarts", pa.int64()), ("utterances", pa.string()), ("ratios", pa.list_(pa.float64()))]
    last += [("skipped_steps", pa.int64()), ("loss_scale", pa.float64())]
    last += [("precision", pa.string()), ("warning", pa.string())]
    return pa.schema([*fixed, *configs, *((name, pa.float64()) for name in by_language), *last])


def write_utterances(folder: RunFolder, table: TrialTable, tests: Sequence[TestFile] = ()) -> None:
    """Assemble `utterances.parquet`: what each ended trial decoded last and, beside a baseline, the original model.

    Columns `phase`, `trial_id` and `split` stand in front of those of `raywce.evaluation.utterances`.

    Args:
        folder: of the run.
        table: its trials.
        tests: what was decoded of test splits.
    """
    sources = [*_sources(table), *((TEST, test.model, test.name, test.uri) for test in tests)]
    parts = [_labelled(read_table(uri), phase, trial_id, split) for phase, trial_id, split, uri in sources]
    if parts:
        folder.write_table(UTTERANCES, pa.concat_tables(parts, promote_options="permissive"))


def decoded_of_dev(folder: RunFolder, trainings: Sequence[tuple[str, str]]) -> list[pa.Table] | None:
    """Return what trainings, given by phase and id, decoded last of dev; None if one is not in the table yet."""
    if not folder.has(UTTERANCES):
        return None
    wanted = pc.is_in(pc.field("trial_id"), pa.array([trial_id for _, trial_id in trainings], pa.string()))
    table = folder.read_table(UTTERANCES, wanted)
    table = table.filter(pc.equal(table["split"], "dev"))
    parts = []
    for phase, trial_id in trainings:
        part = table.filter(pc.equal(table["trial_id"], trial_id))
        parts.append(part.filter(pc.equal(part["phase"], phase)))
    return parts if all(part.num_rows for part in parts) else None


@dataclass(frozen=True)
class TestFile:
    """A file with a model's texts of a test split.

    Attributes:
        name: `test`, or an extra test split's own.
        model: `original`, or the trial of the confirm phase.
        uri: of the parquet file.
    """

    name: str
    model: str
    uri: str


def _sources(table: TrialTable) -> list[tuple[str, str, str, str]]:
    sources: list[tuple[str, str, str, str]] = []
    for phase in PHASES:
        of_phase = table.of_phase(phase)
        if phase != SEARCH:
            starts = [row.get("utterances") for rows in of_phase.values() for row in rows if row["step"] == 0]
            sources += [(phase, ORIGINAL, "dev", uri) for uri in starts[:1] if uri]
        for trial_id, rows in of_phase.items():
            # Of a trial that an interruption left running, part of dev: it will have other figures.
            decoded = [row["utterances"] for row in rows if row.get("utterances") and row["state"] != RUNNING]
            sources += [(phase, trial_id, "dev", uri) for uri in decoded[-1:]]
    return sources


def _labelled(utterances: pa.Table, phase: str, trial_id: str, split: str) -> pa.Table:
    labelled = utterances
    for name, label in (("split", split), ("trial_id", trial_id), ("phase", phase)):
        labelled = labelled.add_column(0, name, pa.repeat(label, utterances.num_rows))
    return labelled.replace_schema_metadata(utterances.schema.metadata)


def _column_type(distribution: Distribution) -> pa.DataType:
    if distribution.kind != "choice":
        return pa.int64() if distribution.kind == "int" else pa.float64()
    kinds = frozenset(type(choice) for choice in distribution.values if choice is not None)
    return _CHOICES.get(kinds, pa.string())
