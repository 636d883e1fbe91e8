"""The confirm phase: which trials are trained again, over which seeds, and what they decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from raywce.errors import RunFailed
from raywce.experiment.schema import Experiment
from raywce.runs.tables import TrialTable
from raywce.search.driver import Run
from raywce.selection.comparison import Comparison, Decoded, choose, compare, side_by_side
from raywce.selection.outcome import Confirmation, TrialFigures
from raywce.selection.trials import BASELINE, CONFIRM, FAIL, Row
from raywce.storage.files import read_table

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile


def candidates(feasible: Sequence[TrialFigures], count: int) -> list[TrialFigures]:
    """Return the best trials, of those with the same WER in every language the first: they are the same training.

    A weight that never acts, such as an alpha below an adaptive weight's loss ratio, makes such trials.
    """
    chosen: list[TrialFigures] = []
    for trial in sorted(feasible, key=lambda trial: (trial.objective, trial.trial_id)):
        if all(trial.wer != other.wer for other in chosen):
            chosen.append(trial)
    return chosen[:count]


def runs(chosen: Sequence[TrialFigures], file: ExperimentFile) -> list[Run]:
    """Return the runs of baseline and candidates over the same new seeds; the first also evaluates the original."""
    search = file.experiment.search
    first = max(search.baseline_seeds, search.seeds)
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
    sides = side_by_side(dev, experiment)
    return Confirmation(
        dev=compare(dev, sides, experiment),
        choice=choose(dev, sides, experiment),
        values={name_of(trial): trial.values for trial in chosen},
        failed=failures(table),
        tests={},
        closed=None,
    )


def compared_tests(tests: Mapping[str, Decoded], experiment: Experiment) -> dict[str, Comparison]:
    """Return the winner's figures on each test split, beside the others'."""
    return {name: compare(test, side_by_side(test, experiment), experiment) for name, test in tests.items()}
