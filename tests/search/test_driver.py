from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raywce.errors import RunFailed
from raywce.search.driver import Driver, Run
from raywce.selection.limits import Limit
from raywce.storage.failures import report_storage_failures
from tests.search import surrogate

VALUES = {"weighting.alpha": 3.0, "training.optimizer.learning_rate": 1e-4}
RATES = {"gl": 0.40, "es": 0.35, "pt": 0.20}


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    at_the_end = {"es": Limit(0.20, 0.005), "pt": Limit(0.19, 0.005)}
    intermediate = {"es": Limit(0.35, 0.005), "pt": Limit(0.30, 0.005)}
    return Driver(
        surrogate.load_file(tmp_path), "trials", surrogate.trial, limits=at_the_end, limits_at={10: intermediate}
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
    found = driver.judged(surrogate.report(experiment, step, RATES))
    assert found.violations == pytest.approx(violations)
    assert found.violation == pytest.approx(max(violations.values()))
    assert found.feasible == (step == 10)
    assert found.objective == 0.40


def test_the_last_report_is_held_against_the_end_even_where_its_step_has_limits(driver: Driver) -> None:
    found = driver.judged(replace(surrogate.report(driver.file.experiment, 10, RATES), final=True))
    assert found.violation == pytest.approx(14.5)


@pytest.mark.parametrize(("values", "alpha"), [(VALUES, 3.0), (None, 1.0)])
def test_a_trial_has_its_values_its_own_seed_and_its_phases_part_of_dev(
    tmp_path: Path, values: dict[str, float] | None, alpha: float
) -> None:
    file = surrogate.load_file(tmp_path, "training.seed=7")
    driver = Driver(file, "trials", surrogate.trial, part="search")
    found = driver.experiment(Run("a", values, seed_index=3, evaluates_original=True))
    assert (found.training.seed, found.training.evaluate_at_start, found.evaluation.part) == (10, True, "search")
    assert getattr(found.weighting, "alpha", 1.0) == alpha
    assert not driver.experiment(Run("a", values)).training.evaluate_at_start


def test_a_report_without_an_evaluation_is_not_judged(driver: Driver) -> None:
    report = surrogate.report(driver.file.experiment, 10, None)
    assert driver.judged(report) == report


OUT_OF_REACH = "OSError: AWS Error NETWORK_CONNECTION during PutObject operation"


class Outages:
    """A training that the storage fails at step 10, as often as said; its workers were restarted once each time."""

    def __init__(self, times: int, reason: str = OUT_OF_REACH) -> None:
        self.left, self.reason = times, reason

    def __call__(self, experiment: Any, folder: str, name: str, on_report: Any) -> None:
        on_report(surrogate.report(experiment, 10, None, restarts=1))
        if self.left:
            self.left -= 1
            raise RunFailed(self.reason)
        on_report(surrogate.report(experiment, 20, RATES, restarts=1))


def told(driver: Driver, trial: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = []
    monkeypatch.setattr("ray.tune.report", reports.append)
    replace(driver, run_trial=trial, folder=str(folder))({"trial_id": "search-000-aaaaaa", "values": None})
    return reports


def test_a_trial_goes_on_after_outages_of_the_storage_and_its_restarts_add_up(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = told(driver, Outages(2), tmp_path, monkeypatch)
    assert [report["step"] for report in reports] == [10, 10, 10, 20]
    assert [report["restarts"] for report in reports] == [1, 3, 5, 5]
    assert reports[-1]["objective"] == 0.40


@pytest.mark.parametrize(("times", "reason"), [(9, OUT_OF_REACH), (1, "No space left on device")])
def test_a_storage_that_does_not_come_back_ends_the_phase_and_not_the_trial(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, reason: str
) -> None:
    last = told(driver, Outages(times, reason), tmp_path, monkeypatch)[-1]
    assert last["storage_failure"] == f"{reason} (on {socket.gethostname()})"
    assert "failure" not in last


def test_workers_that_lose_each_other_again_and_again_end_the_trial_and_not_the_phase(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "NCCL error: Call to recv from 10.0.0.7<5000> failed : Connection timed out"
    last = told(driver, Outages(9, reason), tmp_path, monkeypatch)[-1]
    assert (last["failure"], last["restarts"]) == (reason, 7)
    assert "storage_failure" not in last


@pytest.mark.parametrize(("gpus", "expected"), [(1, "backend:cudaMallocAsync"), (0, None)])
def test_a_trial_on_a_gpu_has_the_allocator_of_the_commands_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: float, expected: str | None
) -> None:
    with monkeypatch.context() as command:
        command.setenv("PYTORCH_ALLOC_CONF", "backend:cudaMallocAsync")
        file = surrogate.load_file(tmp_path, f"resources.gpus_per_worker={gpus}")
        sent = pickle.dumps(Driver(file, "trials", surrogate.trial))
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "")  # so that it is as before after the test
    monkeypatch.delenv("PYTORCH_ALLOC_CONF")
    found: list[str | None] = []

    def trial(experiment: Any, folder: str, name: str, on_report: Any) -> None:
        found.append(os.environ.get("PYTORCH_ALLOC_CONF"))

    told(pickle.loads(sent), trial, tmp_path, monkeypatch)
    assert found == [expected]


@pytest.mark.parametrize("late", [False, True])
def test_a_node_that_does_not_see_the_run_folder_trains_nothing_and_ends_the_phase(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    file, waited = tmp_path / "experiment.yaml", []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if late and len(waited) == 3:
            file.touch()

    monkeypatch.setattr("time.sleep", sleep)
    reports = told(replace(driver, shared_file=str(file)), Outages(0), tmp_path, monkeypatch)
    assert 30 < sum(waited) < 90 or late
    if late:
        assert [report["step"] for report in reports] == [10, 20]
    else:
        (only,) = reports
        assert str(file) in only["storage_failure"]
        with pytest.raises(RunFailed, match="is not shared by all nodes"), report_storage_failures("runs/demo"):
            raise OSError(only["storage_failure"])


def test_other_failures_are_the_trials_own(driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = told(driver, Outages(1, "loss is not finite"), tmp_path, monkeypatch)[-1]
    assert last["failure"] == "loss is not finite"
    assert last["objective"] is None


def test_a_trials_driver_loads_no_library_that_only_its_workers_or_the_judgement_need() -> None:
    heavy = ["torch", "transformers", "datasets", "jiwer", "scipy.stats"]
    code = f"import sys, raywce.search.driver; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_an_objective_over_a_wer_and_a_cer_is_relative_to_the_baseline(tmp_path: Path) -> None:
    languages = "languages={low_resource: [gl, ja], high_resource: [es], language_tokens: {ja: gl}}"
    file = surrogate.load_file(tmp_path, languages, "evaluation.metric=auto")
    baseline = {"gl": 0.50, "ja": 0.10, "es": 0.20}
    driver = Driver(file, "trials", surrogate.trial, limits={"es": Limit(0.20, 0.005)}, baseline=baseline)
    # Its CER is half of its WER, as the surrogate reports.
    found = driver.judged(surrogate.report(file.experiment, 20, {"gl": 0.45, "ja": 0.24, "es": 0.20}))
    assert found.objective == pytest.approx((0.45 / 0.50 + 0.12 / 0.10) / 2)
    assert found.violations == pytest.approx({"es": -0.5})
    assert driver.why_unusable(found) is None
    unknown = replace(found, rates={**found.rates, "cer": {"gl": 0.2, "es": 0.1}})
    assert driver.why_unusable(unknown) == "the last report has no WER or CER of ja: are there dev utterances?"
