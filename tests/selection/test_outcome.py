"""What a search comes to, from a table alone: no cluster is needed for it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from pydantic import TypeAdapter

from raywce.errors import RunFailed
from raywce.runs.tables import Trial, TrialTable
from raywce.search.driver import Driver
from raywce.selection.comparison import Interval
from raywce.selection.limits import limits
from raywce.selection.outcome import SearchOutcome, TrialFigures, outcome, references
from raywce.selection.trials import BASELINE, COMPLETE, SEARCH
from raywce.trial_report import Report
from raywce.valid_json import as_json
from tests.search import surrogate

LEVELS = {"alpha": {"plain": {}, "weak": {"weighting.alpha": 2.0}}}


def test_an_interval_that_could_not_be_had_is_read_back_as_it_was() -> None:
    written = json.loads(as_json(asdict(Interval(0.5, math.nan, math.inf))), parse_constant=no_constant)
    assert written == {"value": 0.5, "low": None, "high": None}
    read = TypeAdapter(Interval).validate_python(written)
    assert read.value == 0.5
    assert math.isnan(read.low)
    assert math.isnan(read.high)


def no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is no JSON")


def test_the_figures_are_json_where_a_reference_wer_is_0(tmp_path: Path) -> None:
    file = surrogate.load_grid(tmp_path, LEVELS, seeds=1)
    table = TrialTable(file.space, file.experiment.languages)

    def add(phase: str, trial_id: str, **of: Any) -> None:
        values = {"alpha": "weak"} if phase == SEARCH else {}
        trial = Trial(phase, trial_id, 0, values)
        violations = {"violation/es": -0.5, "violation/pt": -0.5} if phase == SEARCH else {}
        for step, (gl, es, pt) in of.items():
            last = {"final": step == "step20", "objective": gl, **violations}
            table.record(trial, Report.of({"step": int(step[4:]), "wer/gl": gl, "wer/es": es, "wer/pt": pt, **last}))
        table.finish(trial, COMPLETE)

    add(BASELINE, "baseline-0", step0=(0.6, 0.0, 0.1), step20=(0.0, 0.0, 0.1))
    add(SEARCH, "search-000", step20=(0.1, 0.0, 0.1))
    result = outcome(table, file.experiment, {})
    stored = json.loads(result.to_json(), parse_constant=no_constant)
    (weak,) = stored["settings"][2:]
    assert weak["against_baseline"] == {"gl": None, "high": 0.0, "all": 100.0}
    assert stored["settings"][1]["against_original"]["gl"] == -100.0
    assert stored["references"]["baseline"]["gl"] == 0.0


def searched(folder: Path, *overrides: str) -> SearchOutcome:
    """Two trials beside a baseline with 10 % in a watched language: one keeps it there, the better one has 30 %."""
    file = surrogate.load_file(folder, "languages.watched=[it]", *overrides)
    table = TrialTable(file.space, file.experiment.languages)

    def rates(gl: float, it: float) -> dict[str, float]:
        return {"gl": gl, "es": 0.2, "pt": 0.2, "it": it}

    baseline = Trial(BASELINE, "baseline-0", 0, {})
    for step, gl in ((0, 0.6), (20, 0.5)):
        table.record(baseline, surrogate.report(file.experiment, step, rates(gl, 0.1)))
    table.finish(baseline, COMPLETE)
    against = references(table, file.experiment)
    driver = Driver(file, "", surrogate.trial, limits=limits(file.experiment.search.constraints, against.limits))
    for number, (gl, it) in enumerate([(0.45, 0.1), (0.40, 0.3)]):
        trial = Trial(SEARCH, f"search-{number}", 0, {"weighting.alpha": 2.0})
        table.record(trial, driver.judged(surrogate.report(file.experiment, 20, rates(gl, it))))
        table.finish(trial, COMPLETE)
    return outcome(table, file.experiment, {})


def test_a_watched_language_without_a_limit_is_in_the_figures_and_decides_nothing(tmp_path: Path) -> None:
    found = searched(tmp_path)
    assert (found.best.trial_id, found.feasible) == ("search-1", 2)
    assert found.best.violations.keys() == {"es", "pt"}
    assert [point.worst_change for point in found.pareto] == [0.0]
    written = json.loads(found.to_json())
    assert written["watched"] == ["it"]
    assert written["best"]["wer"]["it"] == 0.3
    assert (written["references"]["baseline"]["it"], written["references"]["original"]["it"]) == (0.1, 0.1)
    assert "it" not in written["references"]["limits"]


@pytest.mark.parametrize(
    ("winner", "breaks", "code"), [("search-1", [], 0), (None, [], 3), ("search-1", ["a limit of robustness"], 3)]
)
def test_with_a_confirm_phase_its_winner_decides_the_exit_code(
    tmp_path: Path, winner: str | None, breaks: list[str], code: int
) -> None:
    found = searched(tmp_path)
    assert found.exit_code == 0
    assert replace(found, best=None).exit_code == 3
    confirmation: Any = SimpleNamespace(choice=SimpleNamespace(winner=winner), breaks=breaks)
    assert replace(found, confirmation=confirmation).exit_code == code


def test_a_watched_language_with_a_limit_decides_what_is_feasible(tmp_path: Path) -> None:
    found = searched(tmp_path, "search.constraints.languages={it: {absolute_floor: 1}}")
    assert (found.best.trial_id, found.feasible) == ("search-0", 1)
    assert found.best.violations == pytest.approx({"es": -0.5, "pt": -0.5, "it": -1.0})
    assert [point.worst_change for point in found.pareto] == pytest.approx([20.0, 0.0])


def test_an_outcome_of_an_older_version_watched_nothing(tmp_path: Path) -> None:
    written = json.loads(searched(tmp_path).to_json())
    del written["watched"]
    assert not TypeAdapter(SearchOutcome).validate_python(written).watched


def mixed(folder: Path, ja: float = 0.2) -> SearchOutcome:
    """A baseline with a WER of 50 % and a CER of 10 %; of two trials, one has a lower mean and a higher CER."""
    languages = "languages={low_resource: [gl, ja], high_resource: [es], language_tokens: {ja: gl}}"
    file = surrogate.load_file(folder, languages, "evaluation.metric=auto")
    table = TrialTable(file.space, file.experiment.languages)
    baseline = Trial(BASELINE, "baseline-0", 0, {})
    for step in (0, 20):
        rates = {"gl": 0.5, "ja": ja, "es": 0.2}  # the surrogate's CER is half of it
        table.record(baseline, surrogate.report(file.experiment, step, rates))
    table.finish(baseline, COMPLETE)
    against = references(table, file.experiment)
    bounds = limits(file.experiment.search.constraints, against.limits)
    driver = Driver(file, "", surrogate.trial, limits=bounds, baseline=against.baseline)
    for number, (gl, of_ja) in enumerate([(0.40, 0.3), (0.45, 0.16)]):
        trial = Trial(SEARCH, f"search-{number}", 0, {"weighting.alpha": 2.0})
        rates = {"gl": gl, "ja": of_ja, "es": 0.2}
        table.record(trial, driver.judged(surrogate.report(file.experiment, 20, rates)))
        table.finish(trial, COMPLETE)
    return outcome(table, file.experiment, {})


def test_of_trials_with_a_wer_and_a_cer_the_best_has_the_lowest_mean_of_relative_changes(tmp_path: Path) -> None:
    found = mixed(tmp_path)
    assert found.baseline_objective == 1.0
    assert found.references.baseline == pytest.approx({"gl": 0.5, "ja": 0.1, "es": 0.2})
    assert found.best.trial_id == "search-1"
    assert found.best.objective == pytest.approx((0.45 / 0.5 + 0.08 / 0.1) / 2)
    assert found.minimised == "relative low-resource error rate"
    assert found.marks == {"gl": "WER", "ja": "CER", "es": "WER"}
    assert TypeAdapter(SearchOutcome).validate_json(found.to_json()).marks == found.marks


def test_without_an_error_of_the_baseline_there_is_no_relative_change(tmp_path: Path) -> None:
    with pytest.raises(
        RunFailed, match="in each low-resource language, to measure relative changes from, but has none in ja"
    ):
        mixed(tmp_path, ja=0.0)


def test_an_outcome_of_an_older_version_minimised_a_mean_rate(tmp_path: Path) -> None:
    written = json.loads(searched(tmp_path).to_json())
    for name in ("objective_label", "objective_about", "marks"):
        del written[name]
    read = TypeAdapter(SearchOutcome).validate_python(written)
    assert (read.minimised, read.marks) == ("low-resource capped WER", {})


def test_a_setting_is_called_by_its_levels_and_values_and_not_by_its_trials() -> None:
    values = {"setting": "4 times the draws", "weighting.alpha": 2.0}
    assert TrialFigures("search-0, search-1", values, {}, {}, 0.5).called == "setting 4 times the draws, alpha 2"
    assert TrialFigures("search-0", values, {}, {}, 0.5).called == "trial search-0"
