from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from raywce.report.run import read_run
from raywce.report.wers import wer_tables
from tests.report import made_runs
from tests.report.made_runs import MadeRun


def errors(run: MadeRun, trial_id: str, language: str) -> tuple[np.ndarray, np.ndarray]:
    """Word errors and words by utterance, in the order of their ids."""
    rows = pq.read_table(run.folder.path("utterances.parquet")).to_pylist()
    rows = [row for row in rows if row["trial_id"] == trial_id and row["language"] == language]
    rows = sorted((row for row in rows if row["phase"] != "confirm"), key=lambda row: row["id"])
    counts = {name: np.array([row[f"words_normalized_{name}"] for row in rows]) for name in
              ("hits", "substitutions", "deletions", "insertions")}  # fmt: skip
    words = counts["hits"] + counts["substitutions"] + counts["deletions"]
    return words - counts["hits"] + counts["insertions"], words


def test_the_search_is_compared_on_the_utterances_that_it_saw(searched: MadeRun) -> None:
    (table,) = wer_tables(read_run(searched.folder))
    best = searched.outcome().best
    assert table.chosen == best.trial_id
    for row in table.languages:
        one, words = errors(searched, best.trial_id, row.language)
        base = np.mean([errors(searched, f"baseline-{seed}", row.language)[0] for seed in (0, 1)], axis=0)
        assert row.chosen.value == pytest.approx(one.sum() / words.sum()) == best.wer[row.language]
        assert row.baseline.value == pytest.approx(base.sum() / words.sum())
        assert row.against_baseline.value == pytest.approx((one - base).sum() / words.sum())
        # Without seeds to pair, the interval is that of the utterances: about the normal one of a ratio.
        rest = (one - base) - row.against_baseline.value * words
        half = 1.96 * np.sqrt(len(words) * rest.var(ddof=1)) / words.sum()
        width = (row.against_baseline.high - row.against_baseline.low) / 2
        assert 0.9 * half < width < 1.8 * half  # the wider of utterances and speakers
    assert "these trainings" in table.note
    assert [row.allowed for row in table.languages] == [None, pytest.approx(3.0), pytest.approx(4.0)]


def test_the_confirm_phase_comes_first_then_the_test_splits(confirmed: MadeRun) -> None:
    run = read_run(confirmed.folder)
    found = run.outcome.confirmation
    tables = wer_tables(run)
    assert [table.title for table in tables][1] == "test"
    assert [table.chosen for table in tables[:2]] == [found.choice.winner] * 2
    own = found.dev.candidates[found.choice.winner]
    for row in tables[0].languages:
        assert row.chosen.value == own.wer[row.language].value
        assert row.against_baseline.low == own.against_baseline[row.language].low
        assert row.above_limit == found.choice.claims[found.choice.winner].bounds.get(row.language)
    assert tables[0].seeds == sum(f"-{found.choice.winner}-" in one for one in run.table.trial_ids("confirm"))


def test_the_averages_of_winner_and_baseline_have_tables_of_their_own(confirmed: MadeRun) -> None:
    run = read_run(confirmed.folder)
    averaged, tables = run.outcome.confirmation.averaged, wer_tables(run)
    dev, test = tables[2:4]
    assert (dev.label, test.label) == ("average", "average")
    assert dev.title.startswith("dev, averages of the weights over ")
    assert test.title.startswith("test, averages")
    own = averaged.dev.candidates[averaged.candidate]
    for row in dev.languages:
        assert row.chosen.value == own.wer[row.language].value
        assert row.baseline.value == averaged.dev.baseline.wer[row.language].value
        assert row.above_limit == averaged.bounds.get(row.language)
    assert "these averages" in test.note


def test_seeds_that_are_pairs_are_paired(tmp_path) -> None:
    run = made_runs.grid(tmp_path)
    (table,) = wer_tables(read_run(run.folder))
    assert table.seeds == 2
    assert "other seeds" in table.note


def test_without_the_utterances_there_are_no_intervals(tmp_path) -> None:
    run = made_runs.searched(tmp_path)
    (run.folder.local / "utterances.parquet").unlink()
    (table,) = wer_tables(read_run(run.folder))
    assert all(row.chosen.low is None for row in table.languages)
    assert table.gain.value == pytest.approx(run.outcome().best.objective - run.outcome().baseline_objective)
    assert table.note.startswith("No intervals")
