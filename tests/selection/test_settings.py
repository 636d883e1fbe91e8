from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from raywce.runs.tables import Trial, TrialTable
from raywce.selection.outcome import outcome
from raywce.selection.settings import compared, setting_name
from raywce.selection.trials import BASELINE, COMPLETE, FAIL, SEARCH
from raywce.trial_report import Report
from tests.search import surrogate

GRID: dict[str, Any] = {"sampler": "grid", "trials": None, "points": "none"}


def test_rows_by_hand() -> None:
    original = {"gl": 0.8, "es": 0.1, "pt": 0.3}
    baseline = [{"gl": 0.4, "es": 0.1, "pt": 0.1}, {"gl": 0.6, "es": 0.1, "pt": 0.3}]
    runs = [{"gl": 0.3, "es": 0.2, "pt": 0.2}, {"gl": 0.5, "es": 0.2, "pt": 0.2}]
    first, plain, setting = compared(original, baseline, {"LP": runs}, ["gl"], ["es", "pt"])
    assert (first.name, first.runs, first.wer, first.deviation) == ("original", 0, original, None)
    assert plain.wer == pytest.approx({"gl": 0.5, "es": 0.1, "pt": 0.2})
    # two runs that lie d apart have a sample standard deviation of d / sqrt(2)
    assert plain.deviation == pytest.approx({"gl": 0.2 / math.sqrt(2), "es": 0.0, "pt": 0.2 / math.sqrt(2)})
    assert plain.against_original == pytest.approx({"gl": -37.5, "high": -25.0, "all": 100 * (0.8 / 1.2 - 1)})
    assert plain.against_baseline is None
    assert (setting.name, setting.runs) == ("LP", 2)
    assert setting.against_original == pytest.approx({"gl": -50.0, "high": 0.0, "all": 100 * (0.8 / 1.2 - 1)})
    assert setting.against_baseline == pytest.approx({"gl": -20.0, "high": 100 * (0.4 / 0.3 - 1), "all": 0.0})


def test_one_run_has_no_deviation_and_no_high_resource_language_no_column() -> None:
    wer = {"gl": 0.4, "ca": 0.2}
    rows = compared({"gl": math.nan, "ca": 0.0}, [wer], {}, ["gl", "ca"], [])
    assert rows[1].deviation is None
    assert list(rows[1].against_original) == ["gl", "ca", "all"]
    assert all(math.isnan(change) for change in rows[1].against_original.values())


def test_watched_languages_have_a_column_of_their_own_and_are_in_no_other() -> None:
    before, after = ({"gl": 0.4, "es": 0.2, "it": it} for it in (0.1, 0.3))
    rows = compared(before, [before], {"LP": [after]}, ["gl"], ["es"], ["it"])
    assert rows[2].against_original == pytest.approx({"gl": 0.0, "high": 0.0, "all": 0.0, "watched": 200.0})
    assert rows[2].wer == after


def test_names() -> None:
    values = {"weighting": "LP", "training.optimizer.learning_rate": 1e-5, "augmentation.copies": "all"}
    assert setting_name(values, {"weighting"}) == "LP, learning_rate 1e-05, copies all"


@pytest.fixture
def file(tmp_path: Path) -> Any:
    levels = {"strong": {"weighting.alpha": 4.0}, "weak": {"weighting.alpha": 2.0}}
    return surrogate.load_grid(tmp_path, {"alpha": levels}, seeds=2)


@pytest.fixture
def table(file: Any) -> TrialTable:
    table = TrialTable(file.space, file.experiment.languages)
    for index, gl in enumerate((0.5, 0.6)):
        trial = Trial(BASELINE, f"baseline-{index}", index, {})
        if index == 0:
            table.record(trial, Report.of({"step": 0, "wer/gl": 0.8, "wer/es": 0.3, "wer/pt": 0.3}))
        table.record(trial, Report.of({"step": 20, "final": True, "wer/gl": gl, "wer/es": 0.2, "wer/pt": 0.2}))
        table.finish(trial, COMPLETE)
    return table


def add(table: TrialTable, number: int, level: str, gl: float, es: float, state: str = COMPLETE) -> None:
    """`es` in points above its limit."""
    trial = Trial(SEARCH, f"search-{number}", number // 2, {"alpha": level})
    rates = {"wer/gl": gl, "wer/es": 0.205 + es / 100}
    table.record(trial, Report.of({"step": 20, "final": True, "objective": gl, "violation/es": es, **rates}))
    table.finish(trial, state, "no memory" if state == FAIL else None)


def without_pt(file: Any) -> Any:
    languages = file.experiment.languages.model_copy(update={"high_resource": ["es"]})
    return file.experiment.model_copy(update={"languages": languages})


def test_the_best_setting_has_the_best_mean_not_the_best_seed(file: Any, table: TrialTable) -> None:
    add(table, 0, "strong", 0.30, 0.4)  # the best run of all, whose setting is worse in the mean
    add(table, 1, "weak", 0.42, -0.4)
    add(table, 2, "strong", 0.60, -0.6)
    add(table, 3, "weak", 0.44, 0.2)
    result = outcome(table, without_pt(file), {})
    assert result.best.trial_id == "search-1, search-3"
    assert result.best.values == {"alpha": "weak"}
    assert result.best.objective == pytest.approx(0.43)
    assert result.best.violations == pytest.approx({"es": -0.1})
    assert (result.trials, result.feasible) == (4, 2)
    assert [row.name for row in result.settings] == ["original", "baseline", "strong", "weak"]
    figures = json.loads(result.to_json())["settings"]
    assert figures[3]["against_baseline"]["gl"] == pytest.approx(100 * (0.43 / 0.55 - 1))
    assert figures[0]["wer"] == {"gl": 0.8, "es": 0.3}


def test_a_setting_that_lacks_a_seed_is_shown_as_such_and_cannot_win(file: Any, table: TrialTable) -> None:
    add(table, 0, "strong", 0.30, -0.5)
    add(table, 1, "weak", 0.42, -0.5)
    add(table, 2, "strong", 0.30, -0.5, FAIL)
    add(table, 3, "weak", 0.44, -0.5)
    result = outcome(table, without_pt(file), {})
    assert result.best.values == {"alpha": "weak"}
    strong, weak = result.settings[2:]
    assert (strong.name, strong.runs, weak.runs) == ("strong", 1, 2)
    assert weak.wer["gl"] == pytest.approx(0.43)
    assert weak.against_baseline["gl"] == pytest.approx(-21.818, abs=1e-3)


def test_languages_with_a_wer_and_a_cer_share_the_mean_of_their_relative_changes() -> None:
    before, after = {"gl": 0.5, "ja": 0.1, "es": 0.2, "pt": 0.4}, {"gl": 0.4, "ja": 0.12, "es": 0.3, "pt": 0.4}
    kinds = {"gl": "WER", "ja": "CER", "es": "WER", "pt": "WER"}
    rows = compared(before, [before], {"LP": [after]}, ["gl", "ja"], ["es", "pt"], kinds=kinds)
    changes = rows[2].against_baseline
    assert changes["high"] == pytest.approx(100 * 0.1 / 0.6), "of one kind: the change of the mean"
    assert changes["all"] == pytest.approx((-20 + 20 + 50 + 0) / 4)
