from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from raywce.search.constraints import Limit
from raywce.search.driver import Driver
from tests.search import surrogate

RATES = {"gl": 0.40, "es": 0.35, "pt": 0.20}


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    at_the_end = {"es": Limit(20.0, 0.5), "pt": Limit(19.0, 0.5)}
    on_the_way = {"es": Limit(35.0, 0.5), "pt": Limit(30.0, 0.5)}
    return Driver(
        surrogate.load_file(tmp_path), "trials", surrogate.trial, limits=at_the_end, limits_at={10: on_the_way}
    )


@pytest.mark.parametrize(
    ("step", "violations"),
    [
        (10, {"es": -0.5, "pt": -10.5}),  # the baseline was evaluated there
        (15, {"es": 14.5, "pt": 0.5}),  # it was not
        (20, {"es": 14.5, "pt": 0.5}),  # the last step
    ],
)
def test_a_report_is_held_against_the_limits_of_its_step(
    driver: Driver, step: int, violations: dict[str, float]
) -> None:
    experiment = driver.file.experiment
    found = driver.judge(surrogate.report(experiment, step, RATES))
    assert {language: found[f"violation/{language}"] for language in violations} == pytest.approx(violations)
    assert found["violation"] == pytest.approx(max(violations.values()))
    assert found["feasible"] == (step == 10)
    assert found["objective"] == 0.40


def test_the_last_report_is_held_against_the_end_even_where_its_step_has_limits(driver: Driver) -> None:
    found = driver.judge({**surrogate.report(driver.file.experiment, 10, RATES), "final": True})
    assert found["violation"] == pytest.approx(14.5)


def test_a_report_without_an_evaluation_is_not_judged(driver: Driver) -> None:
    assert driver.judge(surrogate.report(driver.file.experiment, 10, None)) == {}


def test_a_trials_driver_loads_no_library_that_only_its_workers_or_the_judgement_need() -> None:
    heavy = ["torch", "transformers", "datasets", "jiwer", "scipy.stats"]
    code = f"import sys, raywce.search.driver; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
