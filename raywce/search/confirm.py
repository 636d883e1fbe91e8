"""The confirm phase: which trials are trained again, over which seeds, and what they decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from raywce.errors import RunFailed
from raywce.experiment.schema import Experiment
from raywce.runs.tables import TrialTable
from raywce.search.driver import Run
from raywce.selection.comparison import Choice, Comparison, Decoded, choose, compare, side_by_side
from raywce.selection.equal_weights import Training, distinct
from raywce.selection.outcome import Confirmation, PlainConfirmation, TrialFigures
from raywce.selection.trials import BASELINE, CONFIRM, FAIL, Row
from raywce.storage.files import read_table

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile


def trainings(done: Sequence[TrialFigures], table: TrialTable, file: ExperimentFile) -> dict[str, Training]:
    """Return the trainings of complete trials by their names; of a grid's setting, that of its first seed."""
    return {name_of(trial): (file.at(trial.values), table.ratios(name_of(trial))) for trial in done}


def candidates(done: Sequence[TrialFigures], known: Mapping[str, Training], count: int) -> list[TrialFigures]:
    """Return the best feasible trials; of those that are one training, or have the same WER everywhere, the best.

    Args:
        done: the complete trials.
        known: their `trainings`.
        count: how many are wanted at most.
    """
    feasible = [trial for trial in done if trial.feasible]
    best_first = sorted(feasible, key=lambda trial: (trial.objective, trial.trial_id))
    by_name = {name_of(trial): trial for trial in best_first}
    names = distinct({name: trial.wer for name, trial in by_name.items()}, known)
    return [by_name[name] for name in names[:count]]


def runs(chosen: Sequence[TrialFigures], file: ExperimentFile, begun: int | None = None) -> list[Run]:
    """Return the runs of baseline and candidates over the same new seeds; the first also evaluates the original.

    Args:
        chosen: the candidates.
        file: the experiment with its distributions.
        begun: seed index of the first run of a phase that is resumed; None: of a new one, behind all of the search's.
    """
    search = file.experiment.search
    first = search.baseline_seeds + (0 if search.sampler == "grid" else file.trials) if begun is None else begun
    settings = [(BASELINE, None), *((name_of(trial), trial.values) for trial in chosen)]
    return [
        Run(
            trial_id=f"{CONFIRM}-{name}-{seed}",
            values=values,
            seed_index=seed,
            candidate=name,
            evaluates_original=name == BASELINE and seed == first,
        )
        for seed in range(first, first + search.confirm.seeds)
        for name, values in settings
    ]


def name_of(trial: TrialFigures) -> str:
    """Return a candidate's name: the id of its trial; of a grid's setting, that of its first seed."""
    return trial.trial_ids[0]


def candidate_rows(table: TrialTable, candidate: str) -> list[Row]:
    """Return the last row of each of a candidate's runs, by seed."""
    rows = [row for row in table.last_rows(CONFIRM) if row["candidate"] == candidate]
    return sorted(rows, key=lambda row: row["seed"])


def failures(table: TrialTable) -> dict[str, str]:
    """Return why each candidate of which a run failed is left out.

    Raises:
        RunFailed: a run of the baseline failed.
    """
    rows = table.last_rows(CONFIRM)
    failed = {row["candidate"]: f"{row['trial_id']}: {row['reason']}" for row in rows if row["state"] == FAIL}
    if BASELINE in failed:
        raise RunFailed(f"the baseline failed ({failed[BASELINE]})")
    return failed


def decoded(table: TrialTable, chosen: Sequence[TrialFigures]) -> Decoded:
    """Return the phase's texts of dev after the last step, without the candidates of `failures`."""
    failed = failures(table)
    first = [rows[0] for rows in table.of_phase(CONFIRM).values()]
    original = next(row for row in first if row["candidate"] == BASELINE and row["step"] == 0)
    names = [BASELINE, *(name for name in map(name_of, chosen) if name not in failed)]
    tables = {name: [read_table(row["utterances"]) for row in candidate_rows(table, name)] for name in names}
    return Decoded(read_table(original["utterances"]), tables.pop(BASELINE), tables)


def judged(table: TrialTable, chosen: Sequence[TrialFigures], experiment: Experiment) -> Confirmation:
    """Return the figures of the phase's trainings on dev, and the choice; the test splits are not opened yet."""
    dev = decoded(table, chosen)
    comparison, choice = _judged(dev, experiment)
    return Confirmation(
        dev=comparison,
        choice=choice,
        values={name_of(trial): trial.values for trial in chosen},
        failed=failures(table),
        tests={},
        closed=None,
        plain=PlainConfirmation(*_judged(dev, experiment.by_plain_rate), {}) if experiment.metric.capped else None,
    )


def _judged(dev: Decoded, experiment: Experiment) -> tuple[Comparison, Choice]:
    sides = side_by_side(dev, experiment)
    return compare(dev, sides, experiment), choose(dev, sides, experiment)


def with_tests(found: Confirmation, tests: Mapping[str, Decoded], experiment: Experiment) -> Confirmation:
    """Add the winner's figures on each test split, by the rate that decides and by the plain one."""
    plain = found.plain and replace(found.plain, tests=compared_tests(tests, experiment.by_plain_rate))
    return replace(found, tests=compared_tests(tests, experiment), plain=plain)


def compared_tests(tests: Mapping[str, Decoded], experiment: Experiment) -> dict[str, Comparison]:
    """Return the winner's figures on each test split, beside the others'."""
    return {name: compare(test, side_by_side(test, experiment), experiment) for name, test in tests.items()}
