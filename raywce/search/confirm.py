"""The confirm phase: which trials are trained again, over which seeds, and what they decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from raywce.errors import RunFailed
from raywce.experiment.schema import Experiment
from raywce.runs.tables import TrialTable, as_drawn
from raywce.search.driver import Run
from raywce.selection.comparison import Comparison, Decoded, choose, compare, side_by_side
from raywce.selection.outcome import Confirmation, TrialFigures
from raywce.selection.trials import BASELINE, CONFIRM, FAIL
from raywce.storage.files import read_table

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile


def candidates(feasible: Sequence[TrialFigures], count: int) -> list[TrialFigures]:
    """The best trials, of those with the same WER in every language the first: they are the same training.

    A weight that never acts, such as an alpha below an adaptive weight's loss ratio, makes such trials.
    """
    chosen: list[TrialFigures] = []
    for trial in sorted(feasible, key=lambda trial: (trial.objective, trial.trial_id)):
        if all(trial.wer != other.wer for other in chosen):
            chosen.append(trial)
    return chosen[:count]


def runs(chosen: Sequence[TrialFigures], file: ExperimentFile) -> list[Run]:
    """The baseline and each candidate over the same new seeds; the baseline's first also evaluates the original."""
    search = file.experiment.search
    first = max(search.baseline_seeds, search.seeds)
    space = file.optuna_space
    settings = [(BASELINE, None), *((name_of(trial), as_drawn(trial.values, space)) for trial in chosen)]
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
    """What a candidate is called: the id of its trial; of a grid's setting, that of its first seed."""
    return trial.trial_id.partition(",")[0]


def failures(table: TrialTable) -> dict[str, str]:
    """Why each candidate of which a run failed is left out.

    Raises:
        RunFailed: a run of the baseline failed.
    """
    last = [table.of(trial_id)[-1] for trial_id in table.trial_ids(CONFIRM)]
    failed = {row["candidate"]: f"{row['trial_id']}: {row['reason']}" for row in last if row["state"] == FAIL}
    if BASELINE in failed:
        raise RunFailed(f"the baseline failed ({failed[BASELINE]})")
    return failed


def decoded(table: TrialTable, chosen: Sequence[TrialFigures]) -> Decoded:
    """What the phase's runs decoded of dev after their last step, without the candidates of `failures`."""
    rows = [table.of(trial_id) for trial_id in table.trial_ids(CONFIRM)]
    failed = failures(table)
    original = next(of[0] for of in rows if of[0].get("candidate") == BASELINE and of[0]["step"] == 0)
    names = [name for name in map(name_of, chosen) if name not in failed]
    return Decoded(
        original=read_table(original["utterances"]),
        baseline=_by_seed(rows, BASELINE),
        candidates={name: _by_seed(rows, name) for name in names},
    )


def judged(table: TrialTable, chosen: Sequence[TrialFigures], experiment: Experiment) -> Confirmation:
    """What the phase's trainings come to on dev, and whom they choose; the test splits are not opened yet."""
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
    """Of each test split, the winner's figures beside the others'."""
    return {name: compare(test, side_by_side(test, experiment), experiment) for name, test in tests.items()}


def _by_seed(trials: Sequence[Sequence[Mapping[str, Any]]], candidate: str) -> list[pa.Table]:
    last = [rows[-1] for rows in trials if rows[-1]["candidate"] == candidate]
    return [read_table(row["utterances"]) for row in sorted(last, key=lambda row: row["seed"])]
