"""The run folder's two tables: a row for each trial and report, and a row for each trial and dev utterance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from raywce.runs.folder import TRIALS, UTTERANCES, RunFolder
from raywce.selection.trials import CONFIG, ORIGINAL, PHASES, RUNNING, SEARCH, TEST, Trials
from raywce.storage.files import read_table
from raywce.trial_report import RATES, Report

TESTS = "test"  # folder of what was decoded of test splits
_CHOICES = {
    frozenset([bool]): pa.bool_(),
    frozenset([int]): pa.int64(),
    frozenset([float]): pa.float64(),
    frozenset([int, float]): pa.float64(),
}


@dataclass(frozen=True)
class Trial:
    """Who a row is about.

    Attributes:
        values: key path to value, of the leaves that are searched.
        candidate: in the confirm phase, whose setting it has.
    """

    phase: str
    trial_id: str
    seed: int
    values: Mapping[str, Any]
    candidate: str | None = None

    @property
    def row(self) -> dict[str, Any]:
        """The cells that are the same in all of its rows."""
        own = {"phase": self.phase, "trial_id": self.trial_id, "seed": self.seed}
        return own if self.candidate is None else {**own, "candidate": self.candidate}


class TrialTable(Trials):
    """`trials.parquet`, in memory: the last report of a trial's step is the one that counts."""

    def __init__(self, schema: pa.Schema) -> None:
        super().__init__()
        self.schema = schema

    @classmethod
    def open(cls, folder: RunFolder, schema: pa.Schema) -> TrialTable:
        """The folder's table, or an empty one where none was written yet."""
        table = cls(schema)
        for row in rows_in(folder):
            table.trials.setdefault(row["trial_id"], {})[row["step"]] = row
        return table

    def record(self, trial: Trial, report: Report) -> None:
        """Take a report in; what the table has no column for is left out."""
        values = {f"{CONFIG}{path}": value for path, value in trial.values.items()}
        flat = report.flat()
        known = {name: flat[name] for name in self.schema.names if name in flat}
        rows = self.trials.setdefault(trial.trial_id, {})
        rows.pop(None, None)
        rows[report.step] = {**known, **_fitting(self.schema, values), **trial.row, "state": RUNNING}

    def finish(self, trial: Trial, state: str, reason: str | None = None) -> None:
        """Set the state of all the trial's rows; one without a report gets a row without a step."""
        if trial.trial_id not in self.trials:
            values = {f"{CONFIG}{path}": value for path, value in trial.values.items()}
            self.trials[trial.trial_id] = {None: {**trial.row, **_fitting(self.schema, values)}}
        for row in self.trials[trial.trial_id].values():
            row.update(state=state, reason=reason)

    def to_arrow(self) -> pa.Table:
        """Rows by phase, trial and step."""
        rows = [row for phase in PHASES for trial_id in self.trial_ids(phase) for row in self.of(trial_id)]
        columns = {name: [row.get(name) for row in rows] for name in self.schema.names}
        return pa.table(columns, schema=self.schema)

    def write(self, folder: RunFolder) -> None:
        """Replace the folder's table, at once."""
        folder.write_table(TRIALS, self.to_arrow())


def rows_in(folder: RunFolder) -> list[dict[str, Any]]:
    """The rows of a folder's table; none where no table was written yet."""
    return folder.read_table(TRIALS).to_pylist() if folder.has(TRIALS) else []


def trial_schema(
    space: Mapping[str, BaseDistribution], low_resource: Sequence[str], high_resource: Sequence[str]
) -> pa.Schema:
    """The columns of `trials.parquet`.

    WER and CER are fractions; violations are points of WER, <= 0 where the constraint holds; `violation` is the
    largest one. Rows without an evaluation hold nulls there; so do the baseline's, which is what others are held to.
    `restarts` is how often the trial's workers had to be started again; `utterances` is the file of the row's decoded
    utterances.
    """
    languages = [*low_resource, *high_resource]
    fixed = [("phase", pa.string()), ("trial_id", pa.string()), ("candidate", pa.string())]
    fixed += [("seed", pa.int64()), ("step", pa.int64())]
    fixed += [("state", pa.string()), ("reason", pa.string()), ("final", pa.bool_())]
    fixed += [("feasible", pa.bool_()), ("violation", pa.float64())]
    by_language = [f"violation/{language}" for language in high_resource]
    by_language += [f"alpha/{language}" for language in low_resource]
    by_language += [f"utterances_seen/{language}" for language in languages]
    by_language += [f"{rate}/{language}" for rate in (*RATES, "loss") for language in languages]
    configs = [(f"{CONFIG}{path}", _column_type(distribution)) for path, distribution in space.items()]
    last = [
        ("objective", pa.float64()),
        ("time_s", pa.float64()),
        ("restarts", pa.int64()),
        ("utterances", pa.string()),
    ]
    return pa.schema([*fixed, *configs, *((name, pa.float64()) for name in by_language), *last])


def write_utterances(folder: RunFolder, table: TrialTable, tests: Sequence[TestFile] = ()) -> None:
    """Assemble `utterances.parquet`: what was decoded last by each trial and, beside a baseline, by the original model.

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


@dataclass(frozen=True)
class TestFile:
    """What a model decoded of a test split.

    Attributes:
        name: `test`, or an extra test split's own.
        model: `original`, or the trial of the confirm phase.
        uri: of the parquet file.
    """

    name: str
    model: str
    uri: str


def as_drawn(values: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """The table's values in the type of their draws: choices of several kinds stand there as text."""
    return {path: _choice(values[path], distribution) for path, distribution in space.items()}


def _choice(value: Any, distribution: BaseDistribution) -> Any:
    if not isinstance(distribution, CategoricalDistribution):
        return value
    same = [one for one in distribution.choices if one == value and isinstance(one, bool) is isinstance(value, bool)]
    return same[0] if same else next(one for one in distribution.choices if str(one) == str(value))


def _sources(table: TrialTable) -> list[tuple[str, str, str, str]]:
    sources: list[tuple[str, str, str, str]] = []
    for phase in PHASES:
        of_phase = [(trial_id, table.of(trial_id)) for trial_id in table.trial_ids(phase)]
        if phase != SEARCH:
            starts = [row.get("utterances") for _, rows in of_phase for row in rows if row["step"] == 0]
            sources += [(phase, ORIGINAL, "dev", uri) for uri in starts[:1] if uri]
        for trial_id, rows in of_phase:
            decoded = [row["utterances"] for row in rows if row.get("utterances")]
            sources += [(phase, trial_id, "dev", uri) for uri in decoded[-1:]]
    return sources


def _labelled(utterances: pa.Table, phase: str, trial_id: str, split: str) -> pa.Table:
    labels = {"split": split, "trial_id": trial_id, "phase": phase}
    labelled = utterances
    for name, label in labels.items():
        labelled = labelled.add_column(0, name, pa.repeat(label, utterances.num_rows))
    return labelled.replace_schema_metadata(utterances.schema.metadata)


def _column_type(distribution: BaseDistribution) -> pa.DataType:
    if isinstance(distribution, FloatDistribution):
        return pa.float64()
    if isinstance(distribution, IntDistribution):
        return pa.int64()
    assert isinstance(distribution, CategoricalDistribution)
    kinds = frozenset(type(choice) for choice in distribution.choices if choice is not None)
    return _CHOICES.get(kinds, pa.string())


def _fitting(schema: pa.Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    """Choices of several kinds stand in one column as text."""
    as_text = {name for name in values if schema.field(name).type == pa.string()}
    return {name: str(value) if name in as_text and value is not None else value for name, value in values.items()}
