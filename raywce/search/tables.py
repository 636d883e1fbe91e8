"""The run folder's two tables: a row for each trial and report, and a row for each trial and dev utterance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from raywce.run_folder import TRIALS, UTTERANCES, RunFolder, read_parquet

RUNNING, COMPLETE, FAIL = "RUNNING", "COMPLETE", "FAIL"
BASELINE, SEARCH, CONFIRM, TEST = "baseline", "search", "confirm", "test"
PHASES = (BASELINE, SEARCH, CONFIRM)
ORIGINAL = "original"
_CHOICES = {
    frozenset([bool]): pa.bool_(),
    frozenset([int]): pa.int64(),
    frozenset([float]): pa.float64(),
    frozenset([int, float]): pa.float64(),
}
RATES = ("wer", "cer", "wer_raw", "wer_normalized", "cer_raw", "cer_normalized", "loss")


@dataclass(frozen=True)
class Trial:
    """Who a row is about.

    Attributes:
        values: key path to value, of the leaves that are searched.
    """

    phase: str
    trial_id: str
    seed: int
    values: Mapping[str, Any]


@dataclass
class TrialTable:
    """`trials.parquet`, in memory: the last report of a trial's step is the one that counts."""

    schema: pa.Schema
    rows: dict[tuple[str, int | None], dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: RunFolder, schema: pa.Schema) -> TrialTable:
        """The folder's table, or an empty one where none was written yet."""
        table = cls(schema)
        if folder.has(TRIALS):
            table.rows = {(row["trial_id"], row["step"]): row for row in folder.read_table(TRIALS).to_pylist()}
        return table

    def record(self, trial: Trial, report: Mapping[str, Any]) -> None:
        """Take a report in; its unknown keys are left out."""
        values = {f"config/{path}": value for path, value in trial.values.items()}
        known = {name: report[name] for name in self.schema.names if report.get(name) is not None}
        self.rows.pop((trial.trial_id, None), None)
        row = {**known, **_fitting(self.schema, values), **trial.row, "state": RUNNING}
        self.rows[trial.trial_id, report["step"]] = row

    def finish(self, trial: Trial, state: str, reason: str | None = None) -> None:
        """Set the state of all the trial's rows; one without a report gets a row without a step."""
        if not self.of(trial.trial_id):
            values = {f"config/{path}": value for path, value in trial.values.items()}
            self.rows[trial.trial_id, None] = {**trial.row, **_fitting(self.schema, values)}
        for row in self.of(trial.trial_id):
            row.update(state=state, reason=reason)

    def of(self, trial_id: str) -> list[dict[str, Any]]:
        """A trial's rows, by step."""
        rows = [row for (of, _), row in self.rows.items() if of == trial_id]
        return sorted(rows, key=lambda row: -1 if row.get("step") is None else row["step"])

    def trial_ids(self, phase: str) -> list[str]:
        """A phase's trials, in alphabetical order."""
        return sorted({row["trial_id"] for row in self.rows.values() if row["phase"] == phase})

    def to_arrow(self) -> pa.Table:
        """Rows by phase, trial and step."""
        rows = [row for phase in PHASES for trial_id in self.trial_ids(phase) for row in self.of(trial_id)]
        columns = {name: [row.get(name) for row in rows] for name in self.schema.names}
        return pa.table(columns, schema=self.schema)

    def write(self, folder: RunFolder) -> None:
        """Replace the folder's table, at once."""
        folder.write_table(TRIALS, self.to_arrow())


def trial_schema(
    space: Mapping[str, BaseDistribution], low_resource: Sequence[str], high_resource: Sequence[str]
) -> pa.Schema:
    """The columns of `trials.parquet`.

    WER and CER are fractions; violations are points of WER, <= 0 where the constraint holds; `violation` is the
    largest one. Rows without an evaluation hold nulls there; so do the baseline's, which is what others are held to.
    `utterances` is the file of the row's decoded utterances.
    """
    languages = [*low_resource, *high_resource]
    fixed = [("phase", pa.string()), ("trial_id", pa.string()), ("candidate", pa.string())]
    fixed += [("seed", pa.int64()), ("step", pa.int64())]
    fixed += [("state", pa.string()), ("reason", pa.string()), ("final", pa.bool_())]
    fixed += [("feasible", pa.bool_()), ("violation", pa.float64())]
    by_language = [f"violation/{language}" for language in high_resource]
    by_language += [f"alpha/{language}" for language in low_resource]
    by_language += [f"utterances_seen/{language}" for language in languages]
    by_language += [f"{rate}/{language}" for rate in RATES for language in languages]
    configs = [(f"config/{path}", _column_type(distribution)) for path, distribution in space.items()]
    last = [("objective", pa.float64()), ("time_s", pa.float64()), ("utterances", pa.string())]
    return pa.schema([*fixed, *configs, *((name, pa.float64()) for name in by_language), *last])


def write_utterances(folder: RunFolder, table: TrialTable) -> None:
    """Assemble `utterances.parquet`: each trial's last evaluation, and the original model's before the baseline's.

    Columns `phase` and `trial_id` stand in front of those of `raywce.evaluation.utterances`.
    """
    parts = [_labelled(read_parquet(uri), phase, trial_id) for phase, trial_id, uri in _sources(table)]
    if parts:
        folder.write_table(UTTERANCES, pa.concat_tables(parts, promote_options="permissive"))


def _sources(table: TrialTable) -> list[tuple[str, str, str]]:
    sources: list[tuple[str, str, str]] = []
    for phase in PHASES:
        for trial_id in table.trial_ids(phase):
            rows = [row for row in table.of(trial_id) if row.get("utterances")]
            if phase == BASELINE and not any(trial == ORIGINAL for _, trial, _ in sources):
                sources += [(phase, ORIGINAL, row["utterances"]) for row in rows if row["step"] == 0]
            sources += [(phase, trial_id, row["utterances"]) for row in rows[-1:]]
    return sources


def _labelled(utterances: pa.Table, phase: str, trial_id: str) -> pa.Table:
    count = utterances.num_rows
    with_trial = utterances.add_column(0, "trial_id", pa.repeat(trial_id, count))
    return with_trial.add_column(0, "phase", pa.repeat(phase, count)).replace_schema_metadata(
        utterances.schema.metadata
    )


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
