from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from raywce.errors import RunFailed
from raywce.runs.tables import Trial, TrialTable
from raywce.screen.outcome import show_outcome
from raywce.selection.objective import Objective
from raywce.selection.outcome import (
    ParetoPoint,
    References,
    SearchOutcome,
    TrialFigures,
    intermediate_references,
    outcome,
)
from raywce.selection.trials import BASELINE, COMPLETE, FAIL, PRUNED, SEARCH
from raywce.trial_report import Report
from tests.screen import readable
from tests.search import surrogate

ALPHA = "weighting.alpha"
TABLES = {"trials": "runs/toy/trials.parquet"}


@pytest.fixture
def file(tmp_path: Path) -> Any:
    return surrogate.load_file(tmp_path)


@pytest.fixture
def table(file: Any) -> TrialTable:
    """A baseline at gl 50, es 20, pt 20 %, original at 60, 30, 30."""
    table = TrialTable(file.space, file.experiment.languages)
    first = Trial(BASELINE, "baseline-0", 0, {})
    table.record(first, Report.of({"step": 0, "wer/gl": 0.6, "wer/es": 0.3, "wer/pt": 0.3}))
    table.record(first, Report.of({"step": 20, "final": True, "wer/gl": 0.5, "wer/es": 0.2, "wer/pt": 0.2}))
    table.finish(first, COMPLETE)
    return table


def add(table: TrialTable, number: int, gl: float, es: float, pt: float, state: str = COMPLETE) -> None:
    trial = Trial(SEARCH, f"search-{number}", 0, {ALPHA: 1.0 + number})
    violations = {"violation/es": es, "violation/pt": pt, "violation": max(es, pt), "feasible": max(es, pt) <= 0}
    rates = {"wer/gl": gl, "wer/es": 0.205 + es / 100, "wer/pt": 0.205 + pt / 100}
    table.record(trial, Report.of({"step": 20, "final": True, "objective": gl, **rates, **violations}))
    table.finish(trial, state, "no memory" if state == FAIL else None)


def printed(result: SearchOutcome, monkeypatch: pytest.MonkeyPatch) -> str:
    return "\n".join(readable.printed(monkeypatch, lambda: show_outcome(result)))


def test_the_best_feasible_trial_stands_beside_baseline_and_original(file, table, monkeypatch) -> None:
    add(table, 0, 0.45, -0.5, -0.2)
    add(table, 1, 0.40, -0.5, 0.3)  # better, not feasible
    add(table, 2, 0.30, -0.5, -0.5, FAIL)
    result = outcome(table, file.experiment, TABLES)
    assert (result.exit_code, result.best.trial_id, result.feasible, result.better) == (0, "search-0", 1, True)
    assert result.failed == {"search-2": "no memory"}
    text = printed(result, monkeypatch)
    assert "Best feasible trial search-0 (3 trials, 1 feasible, 1 failed): -5.00 points" in text
    assert f"{ALPHA} = 1" in text
    (line,) = [line for line in text.splitlines() if line.startswith("gl")]
    assert line.split() == ["gl", "60.00", "50.00", "45.00", "-5.00"]
    assert TABLES["trials"] in text


def test_a_baseline_over_seeds_is_shown_with_its_deviation(file, table, monkeypatch) -> None:
    second = Trial(BASELINE, "baseline-1", 1, {})
    table.record(second, Report.of({"step": 20, "final": True, "wer/gl": 0.52, "wer/es": 0.2, "wer/pt": 0.23}))
    table.finish(second, COMPLETE)
    add(table, 0, 0.45, -0.5, -0.2)
    result = outcome(table, file.experiment, TABLES)
    assert result.references.baseline_deviation == pytest.approx({"gl": 0.0141421, "es": 0, "pt": 0.0212132}, abs=1e-6)
    text = printed(result, monkeypatch)
    assert "51.00 ± 1.41" in text
    assert "20.00 ± 0.00" in text


def test_nothing_feasible_names_the_nearest_trial_and_what_stopped_it(file, table, monkeypatch) -> None:
    add(table, 0, 0.40, 2.0, -0.2)
    add(table, 1, 0.45, -0.5, 0.75)
    result = outcome(table, file.experiment, TABLES)
    assert (result.exit_code, result.best, result.nearest.trial_id) == (3, None, "search-1")
    assert "The nearest is trial search-1: pt is 0.75 points above its limit" in printed(result, monkeypatch)


def test_a_best_trial_that_is_not_better_than_the_baseline_is_said_to_be_so(file, table, monkeypatch) -> None:
    add(table, 0, 0.52, -0.5, -0.2)
    result = outcome(table, file.experiment, TABLES)
    assert not result.better
    assert "not better than the baseline (+2.00 points" in printed(result, monkeypatch)


def test_a_search_whose_trials_all_failed_is_a_failure(file, table) -> None:
    add(table, 0, 0.4, 0, 0, FAIL)
    with pytest.raises(RunFailed, match="all 1 trials failed; the last one: no memory"):
        outcome(table, file.experiment, TABLES)
    add(table, 1, 0.3, -1, -1, PRUNED)
    with pytest.raises(RunFailed, match="no trial was completed: 1 failed, 1 were stopped early; the last one: no mem"):
        outcome(table, file.experiment, TABLES)


def test_a_trial_that_was_stopped_early_is_counted_and_is_no_candidate(file, table, monkeypatch) -> None:
    add(table, 0, 0.45, -0.5, -0.2)
    add(table, 1, 0.30, -0.5, -0.5, PRUNED)
    add(table, 2, 0.20, 9.0, 9.0, PRUNED)
    result = outcome(table, file.experiment, TABLES)
    assert (result.best.trial_id, result.trials, result.feasible, result.stopped) == ("search-0", 3, 1, 2)
    assert "(3 trials, 1 feasible, 0 failed, 2 stopped early)" in printed(result, monkeypatch)


def test_intermediate_figures_are_compared_with_the_baseline_at_the_same_step(file, table) -> None:
    for index, es in enumerate([0.40, 0.30]):
        run = Trial(BASELINE, f"baseline-{index}", index, {})
        table.record(run, Report.of({"step": 5, "wer/gl": 0.8, "wer/es": es, "wer/pt": 0.3}))
        table.record(run, Report.of({"step": 10}))
        table.record(run, Report.of({"step": 20, "final": True, "wer/gl": 0.5, "wer/es": 0.2, "wer/pt": 0.2}))
        table.finish(run, COMPLETE)
    assert intermediate_references(table, file.experiment) == {5: {"es": pytest.approx(0.35), "pt": pytest.approx(0.3)}}
    original = file.experiment.search.constraints.model_copy(update={"reference": "original"})
    search = file.experiment.search.model_copy(update={"constraints": original})
    against = intermediate_references(table, file.experiment.model_copy(update={"search": search}))
    assert against == {5: {"es": 0.3, "pt": 0.3}}


def test_a_baseline_without_a_figure_is_a_failure(file, table) -> None:
    table.of("baseline-0")[-1]["wer/pt"] = math.nan
    with pytest.raises(RunFailed, match="no WER for pt"):
        outcome(table, file.experiment, TABLES)


def test_the_objective_is_the_plain_mean_over_low_resource_languages() -> None:
    assert Objective({"gl": 1.0, "ca": 1.0}).value({"gl": 0.4, "ca": 0.2, "es": 9.0}) == pytest.approx(0.3)


def test_the_outcome_as_json_has_the_exit_code_and_figures(file, table) -> None:
    import json

    add(table, 0, 0.45, -0.5, -0.2)
    figures = json.loads(outcome(table, file.experiment, TABLES).to_json())
    assert figures["exit_code"] == 0
    assert figures["best"]["wer"]["gl"] == 0.45
    assert figures["references"]["baseline"] == {"gl": 0.5, "es": 0.2, "pt": 0.2}


def test_the_tables_can_be_read_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    low, high, watched = (readable.LANGUAGES[group] for group in ("low", "high", "watched"))
    wer = dict.fromkeys([*low, *high, *watched], 1.2345)
    deviation = dict.fromkeys(wer, 0.1234)
    ids = ", ".join(f"search-{number:03}-fe223b" for number in range(5))
    best = TrialFigures(ids, {ALPHA: 1.5}, wer, dict(zip(high, (-1.0, 12.34, 0.0, 3.2), strict=True)), 1.1111)
    found = SearchOutcome(
        name="toy",
        metric="wer_normalized",
        low_resource=low,
        high_resource=high,
        references=References(wer, wer, wer, deviation),
        baseline_objective=1.2345,
        best=best,
        nearest=None,
        trials=5,
        feasible=1,
        failed={},
        stopped=0,
        tables={},
        settings=None,
        pareto=[ParetoPoint(ids, 0.1111, -12.34), ParetoPoint(readable.TRIAL, 0.1, 1.25)],
        state="found",
        watched=watched,
    )
    lines = readable.printed(monkeypatch, lambda: show_outcome(found))
    start = next(index for index, line in enumerate(lines) if line.startswith("WER in %"))
    readable.check(
        lines[start:],
        "WER in %; change from the baseline and limit in points; *: watched",
        "language original baseline best change limit",
        "yue* 123.45 123.45 ± 12.34 123.45 +0.00",
        "gl 123.45 123.45 ± 12.34 123.45 +0.00",
        "es 123.45 123.45 ± 12.34 123.45 +0.00 -12.34 broken by 12.34",
        "search-000-fe223b 10.00 +1.25",
    )
