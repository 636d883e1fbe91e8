from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raywce.runs.tables import Trial
from raywce.screen import progress as module
from raywce.screen.progress import Progress, TimeLimit, baseline_of
from raywce.selection.trials import BASELINE, COMPLETE, FAIL, PRUNED, RUNNING
from raywce.trial_report import Report
from tests.search import surrogate
from tests.search.fake_search import empty_table


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def row(name: str, state: str, **more: Any) -> list[dict[str, Any]]:
    return [{"trial_id": name, "state": state, **more}]


def done(name: str, wer: float, feasible: bool = True) -> list[dict[str, Any]]:
    return row(name, COMPLETE, final=True, objective=wer, feasible=feasible)


def test_the_time_left_follows_from_what_trials_took(clock: Clock) -> None:
    progress = Progress("search", total=5, at_once=lambda: 2, label="low-resource WER")
    progress.see(row("a", RUNNING))
    progress.see(row("b", RUNNING))
    assert progress.seconds_left() is None
    clock.now += 100
    progress.see(done("a", 0.4))
    # b ends about now; three wait, of 100 s each, two at once: two rounds, less what b leaves free.
    assert progress.seconds_left() == pytest.approx(150)
    progress.see(row("c", RUNNING))
    clock.now += 20
    assert progress.seconds_left() == pytest.approx((80 + 200) / 2)
    for name in ("b", "c"):
        progress.see(done(name, 0.4))
    progress.see(row("d", RUNNING))
    progress.see(row("e", RUNNING))
    assert (progress.done, progress.running) == (3, 2)
    assert progress.seconds_left() == pytest.approx((100 + 120 + 20) / 3)


def test_a_trial_that_failed_says_nothing_about_the_others(clock: Clock) -> None:
    progress = Progress("search", total=2, at_once=lambda: 1, label="low-resource WER")
    progress.see(row("a", RUNNING))
    clock.now += 1
    progress.see(row("a", FAIL))
    assert (progress.done, progress.running, progress.seconds_left()) == (1, 0, None)


def test_what_an_earlier_run_finished_counts_with_its_training_time(clock: Clock) -> None:
    progress = Progress("search", total=3, at_once=lambda: 1, label="low-resource WER")
    progress.see(row("a", COMPLETE, time_s=60.0, objective=0.4, feasible=True))
    progress.see(row("b", PRUNED, time_s=20.0))
    assert (progress.done, progress.seconds_left()) == (2, 40)


def test_the_time_limit_bounds_it(clock: Clock) -> None:
    for stops, left in ((True, 30), (False, 130)):
        progress = Progress("search", 10, lambda: 1, "low-resource WER", limit=TimeLimit(lambda: 30.0, stops))
        progress.see(row("a", RUNNING))
        clock.now += 100
        progress.see(done("a", 0.4))
        assert progress.seconds_left() == left
    over = Progress("search", 10, lambda: 1, "low-resource WER", limit=TimeLimit(lambda: -5.0, stops=True))
    over.see(row("a", COMPLETE, time_s=60.0, objective=0.4, feasible=True))
    assert over.seconds_left() == 0


def test_the_best_is_feasible_and_complete(clock: Clock) -> None:
    progress = Progress("search", total=4, at_once=lambda: 1, label="low-resource WER", baseline=0.47)
    assert progress.line() == (
        "search: 0 of 4 done, 0 running; the baseline's low-resource WER is 47.00 %; time left unknown"
    )
    progress.see(row("a", RUNNING))
    progress.see(row("a", RUNNING, objective=0.1, feasible=True))
    progress.see(done("b", 0.2, feasible=False))
    progress.see(done("c", 0.44))
    progress.see(done("d", 0.45))
    clock.now += 90
    progress.see(done("a", 0.44))
    assert progress.line() == (
        "search: 4 of 4 done, 0 running; best feasible so far c: low-resource WER 44.00 %, "
        "-3.00 points from the baseline's 47.00 %"
    )


def test_the_baseline_is_the_mean_over_its_runs(tmp_path: Path) -> None:
    file = surrogate.load_file(tmp_path)
    table = empty_table(file)
    assert baseline_of(table, file.experiment) is None
    for number, wer in enumerate((0.5, 0.6)):
        trial = Trial(BASELINE, f"baseline-{number}", number, {})
        table.record(trial, Report.of({"step": 0, "wer/gl": 0.9, "wer/es": 0.1, "wer/pt": 0.1}))
        table.record(trial, Report.of({"step": 20, "final": True, "wer/gl": wer, "wer/es": 0.1, "wer/pt": 0.1}))
    assert baseline_of(table, file.experiment) == pytest.approx(0.55)


def test_the_baseline_of_an_objective_over_a_wer_and_a_cer_is_1(tmp_path: Path) -> None:
    languages = "languages={low_resource: [gl, ja], high_resource: [es], language_tokens: {ja: gl}}"
    file = surrogate.load_file(tmp_path, languages, "evaluation.metric=auto")
    table = empty_table(file)
    for number, wer in enumerate((0.5, 0.6)):
        trial = Trial(BASELINE, f"baseline-{number}", number, {})
        table.record(trial, surrogate.report(file.experiment, 20, {"gl": wer, "ja": 0.2, "es": 0.1}))
    assert baseline_of(table, file.experiment) == pytest.approx(1.0)
