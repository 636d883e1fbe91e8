"""The confirm phase: which settings are trained, over which seeds, and what they decoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from raywce.errors import RunFailed
from raywce.experiment.schema import Experiment
from raywce.runs.tables import TrialTable
from raywce.search.driver import Run
from raywce.search.sampler import cube_of
from raywce.search.task import known_of
from raywce.selection.candidates import STEPS, Candidate, known_at, propose
from raywce.selection.comparison import (
    Choice,
    Comparison,
    Decoded,
    choose,
    compare,
    evidence_at,
    looks_of,
    side_by_side,
)
from raywce.selection.equal_weights import Training
from raywce.selection.outcome import Confirmation, PlainConfirmation, TrialFigures, completed
from raywce.selection.trials import BASELINE, CONFIRM, FAIL, Row
from raywce.storage.files import read_table

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile

_CANDIDATES = 1  # of the streams of random numbers of a search's seed


def trainings(done: Sequence[TrialFigures], table: TrialTable, file: ExperimentFile) -> dict[str, Training]:
    """Return the trainings of complete trials by their names; of a grid's setting, that of its first seed."""
    return {one.trial_ids[0]: (file.at(one.values), table.ratios(one.trial_ids[0])) for one in done}


def candidates(file: ExperimentFile, table: TrialTable) -> list[Candidate]:
    """Return the settings that are worth confirming, from safe to bold; of a grid, of its own settings."""
    experiment = file.experiment
    search, cube = experiment.search, cube_of(file.optuna_space)
    known = known_of(file, table, experiment)
    plain = known_of(file, table, experiment.by_plain_rate) if experiment.metrics.capped else None
    values = {row.tobytes(): one.values for row, one in zip(known.rows, completed(table, experiment), strict=True)}
    proposed = propose(
        known.model,
        cube,
        known.rows,
        known.plan,
        np.random.default_rng([search.seed, _CANDIDATES]),
        STEPS[: search.confirm.candidates],
        only_known=search.sampler == "grid",
    )
    return [
        Candidate(
            name=f"candidate-{number}",
            values=values.get(one.row.tobytes()) or cube.values(one.row),
            chance=one.chance,
            with_model=one.with_model,
            known=known_at(known.model, one.row),
            plain=known_at(plain.model, one.row) if plain else None,
        )
        for number, one in enumerate(proposed, 1)
    ]


def runs(chosen: Sequence[Candidate], file: ExperimentFile, seeds: range, begun: int | None = None) -> list[Run]:
    """Return the runs of baseline and candidates over new seeds; the very first evaluates the original too.

    Args:
        chosen: the candidates.
        file: the experiment with its distributions.
        seeds: which of the phase's seeds, from 0 on, of each candidate; the baseline has more, and theirs among them.
        begun: seed index of the first run of a phase that is resumed; None: of a new one, behind all of the search's.
    """
    search = file.experiment.search
    first = search.baseline_seeds + (0 if search.sampler == "grid" else file.trials) if begun is None else begun
    of_baseline = range(*(search.confirm.of_baseline(end) for end in (seeds.start, seeds.stop)))
    settings = [(BASELINE, None, of_baseline), *((one.name, one.values, seeds) for one in chosen)]
    return [
        Run(
            trial_id=f"{CONFIRM}-{name}-{first + seed}",
            values=values,
            seed_index=first + seed,
            candidate=name,
            evaluates_original=name == BASELINE and seed == 0,
        )
        for seed in range(max(seeds.stop, of_baseline.stop))
        for name, values, own in settings
        if seed in own
    ]


def wanting_more(
    table: TrialTable, chosen: Sequence[Candidate], experiment: Experiment, half: Sequence[Run]
) -> list[Candidate]:
    """Return the candidates that the other half of the seeds can still decide, by the first half's.

    Args:
        table: which may have runs of the other half too, complete or not.
        chosen: the candidates.
        experiment: the file's.
        half: the runs of the first half, complete or failed.
    """
    ids = {run.trial_id for run in half}
    dev = decoded([row for row in table.last_rows(CONFIRM) if row["trial_id"] in ids], table, chosen)
    by_name = {one.name: one for one in chosen}
    looks = looks_of(experiment)
    found = evidence_at(dev, side_by_side(dev, experiment), experiment, by_name, looks.first)
    return [by_name[name] for name, more in zip(dev.candidates, looks.wants_more(found), strict=True) if more]


def candidate_rows(table: TrialTable, candidate: str) -> list[Row]:
    """Return the last row of each of a candidate's runs, by seed."""
    return _of_candidate(table.last_rows(CONFIRM), candidate)


def _of_candidate(rows: Iterable[Row], candidate: str) -> list[Row]:
    return sorted((row for row in rows if row["candidate"] == candidate), key=lambda row: row["seed"])


def failures(rows: Iterable[Row]) -> dict[str, str]:
    """Return why each candidate of which a run failed is left out, by the runs' last rows.

    Raises:
        RunFailed: a run of the baseline failed.
    """
    failed = {row["candidate"]: f"{row['trial_id']}: {row['reason']}" for row in rows if row["state"] == FAIL}
    if BASELINE in failed:
        raise RunFailed(f"the baseline failed ({failed[BASELINE]})")
    return failed


def decoded(rows: Sequence[Row], table: TrialTable, chosen: Sequence[Candidate]) -> Decoded:
    """Return the texts of dev after the last step, of runs by their last rows, without the candidates of `failures`."""
    failed = failures(rows)
    first = [rows[0] for rows in table.of_phase(CONFIRM).values()]
    original = next(row for row in first if row["candidate"] == BASELINE and row["step"] == 0)
    names = [BASELINE, *(one.name for one in chosen if one.name not in failed)]
    tables = {name: [read_table(row["utterances"]) for row in _of_candidate(rows, name)] for name in names}
    return Decoded(read_table(original["utterances"]), tables.pop(BASELINE), tables)


def judged(table: TrialTable, chosen: Sequence[Candidate], experiment: Experiment) -> Confirmation:
    """Return the figures of the phase's trainings on dev, and the choice; the test splits are not opened yet."""
    rows = table.last_rows(CONFIRM)
    dev = decoded(rows, table, chosen)
    comparison, choice = _judged(dev, experiment, {one.name: one for one in chosen})
    plain = None
    if experiment.metrics.capped:
        by_plain = {one.name: replace(one, known=one.plain) for one in chosen if one.plain}
        plain = PlainConfirmation(*_judged(dev, experiment.by_plain_rate, by_plain), {})
    return Confirmation(
        dev=comparison,
        choice=choice,
        values={one.name: one.values for one in chosen},
        failed=failures(rows),
        tests={},
        closed=None,
        plain=plain,
    )


def _judged(dev: Decoded, experiment: Experiment, candidates: Mapping[str, Candidate]) -> tuple[Comparison, Choice]:
    sides = side_by_side(dev, experiment)
    return compare(dev, sides, experiment), choose(dev, sides, experiment, candidates)


def with_tests(found: Confirmation, tests: Mapping[str, Decoded], experiment: Experiment) -> Confirmation:
    """Add the winner's figures on each test split, by the rates that decide and by the plain ones."""
    plain = found.plain and replace(found.plain, tests=compared_tests(tests, experiment.by_plain_rate))
    return replace(found, tests=compared_tests(tests, experiment), plain=plain)


def compared_tests(tests: Mapping[str, Decoded], experiment: Experiment) -> dict[str, Comparison]:
    """Return the winner's figures on each test split, beside the others'."""
    return {name: compare(test, side_by_side(test, experiment), experiment) for name, test in tests.items()}
