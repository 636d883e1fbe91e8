from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from raywce.experiment.rungs import rungs
from raywce.experiment.schema import NoWeighting, Training
from raywce.search.scheduler import FeasibleFirstASHA, rank
from raywce.trial_report import Report

GO_ON, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


def trial(name: str) -> SimpleNamespace:
    return SimpleNamespace(trial_id=f"tune-{name}", config={"trial_id": name})


def report(step: int, wer: float | None, violation: float | None = -1.0, **more: Any) -> dict[str, Any]:
    feasible = violation is None or violation <= 0
    return {"step": step, "objective": wer, "feasible": feasible, "violation": violation, "final": False, **more}


def scheduler(**changes: Any) -> FeasibleFirstASHA:
    settings: dict[str, Any] = {"rungs": (10,), "steps": 100, "reduction_factor": 3}
    return FeasibleFirstASHA(**{**settings, **changes})


def decisions(asha: Any, reports: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    known: set[str] = set()
    out = []
    for name, result in reports:
        if name not in known:
            known.add(name)
            asha.on_trial_add(None, trial(name))
        out.append(asha.on_trial_result(None, trial(name), result))
        if out[-1] == STOP:
            asha.on_trial_complete(None, trial(name), result)
    return out


# --- ranks --------------------------------------------------------------------------------------------------------


def test_feasible_ones_go_by_objective_the_others_by_violation() -> None:
    best_to_worst = [
        report(10, 0.2),
        report(10, 0.4, None),  # nothing is constrained
        report(10, 0.6, 0.0),
        report(10, 9.0),  # a WER may pass 1
        report(10, 0.9, 0.01),
        report(10, 0.1, 0.5),
        report(10, 0.0, 30.0),
        report(10, 0.0, math.inf),
    ]
    ranks = [rank(Report.of(result)) for result in best_to_worst]
    assert ranks == sorted(ranks)  # type: ignore[type-var]
    assert len(set(ranks)) == len(ranks)
    assert ranks[3] < 1 < ranks[4]  # type: ignore[operator]


@pytest.mark.parametrize(
    "result",
    [
        report(10, None),
        report(10, math.nan),
        report(10, 0.5, math.nan),
        report(10, 0.5, failure="loss is not finite"),
        {"step": 10, "objective": None},
    ],
)
def test_a_report_without_figures_has_no_rank(result: dict[str, Any]) -> None:
    assert rank(Report.of(result)) is None


# --- who goes on --------------------------------------------------------------------------------------------------

SEQUENCE = [
    ("greedy", report(10, 0.20, 4.0)),
    ("greedier", report(10, 0.15, 9.0)),
    ("sound", report(10, 0.40)),
    ("greediest", report(10, 0.10, 20.0)),
    ("better", report(10, 0.35)),
    ("worse", report(10, 0.45)),
]


def test_feasible_trials_survive_where_the_raw_wer_would_stop_them() -> None:
    ours = decisions(scheduler(), SEQUENCE)
    assert ours == [GO_ON, STOP, GO_ON, STOP, GO_ON, GO_ON]  # of the five before the last, two are feasible

    raw = AsyncHyperBandScheduler("step", "objective", "min", 100, 10, 3, stop_last_trials=False)
    for name, _ in SEQUENCE:
        raw.on_trial_add(None, trial(name))
    assert [raw.on_trial_result(None, trial(name), result) for name, result in SEQUENCE] == [
        GO_ON,
        GO_ON,
        STOP,
        GO_ON,
        STOP,
        STOP,
    ]


def test_while_nothing_is_feasible_the_smallest_violation_goes_on() -> None:
    found = decisions(
        scheduler(), [("a", report(10, 0.1, 5.0)), ("b", report(10, 0.9, 4.0)), ("c", report(10, 0.01, 4.5))]
    )
    assert found == [GO_ON, GO_ON, STOP]


def test_reports_without_an_evaluation_and_failures_go_on() -> None:
    asha = scheduler()
    found = decisions(asha, [("good", report(10, 0.2)), ("bad", report(10, None)), ("bad", report(12, None))])
    assert found == [GO_ON, GO_ON, GO_ON]
    assert decisions(asha, [("bad", report(12, None, failure="no memory"))]) == [GO_ON]
    assert decisions(asha, [("bad", report(20, 0.3))]) == [STOP]  # its first evaluation at or past the rung


def test_before_the_first_rung_nothing_is_stopped() -> None:
    found = decisions(scheduler(), [("good", report(5, 0.1)), ("bad", report(5, 0.9, 50.0)), ("bad", report(9, 0.9))])
    assert found == [GO_ON, GO_ON, GO_ON]


def test_a_rung_is_decided_once_for_a_trial() -> None:
    found = decisions(
        scheduler(),
        [
            ("a", report(10, 0.5)),
            ("b", report(10, 0.4)),
            ("a", report(10, 0.5)),  # a restart repeats the step
            ("a", report(20, 0.9)),  # no rung lies between 10 and 30
        ],
    )
    assert found == [GO_ON, GO_ON, GO_ON, GO_ON]


def test_the_last_step_stops_nobody() -> None:
    asha = scheduler(rungs=(9,), steps=81, reduction_factor=3)  # Tune has a rung at 9, 27 and 81
    for name, wer in [("a", 0.1), ("b", 0.9)]:
        asha.on_trial_add(None, trial(name))
        assert asha.on_trial_result(None, trial(name), report(81, wer, final=True)) == GO_ON
        asha.on_trial_complete(None, trial(name), report(81, wer, final=True))


@pytest.mark.parametrize("factor", [1.2, 2, 2.5, 3, 4])
def test_trials_are_stopped_at_the_rungs_that_are_announced(factor: float) -> None:
    training = Training(steps=100, evaluate_every=5)
    announced = rungs(training, NoWeighting(), {}, factor)
    stopped_at = set()
    for at in range(5, 100, 5):  # one trial falls behind at each evaluation
        asha = scheduler(rungs=announced, reduction_factor=factor)
        decisions(asha, [("good", report(step, 0.2)) for step in range(5, 100, 5)])
        found = decisions(asha, [("bad", report(step, 0.2 if step < at else 0.9)) for step in range(5, at + 5, 5)])
        if found[-1] == STOP:
            stopped_at.add(at)
    assert stopped_at == set(announced)


# --- going on -----------------------------------------------------------------------------------------------------


def earlier() -> list[dict[str, Any]]:
    rows = [("a", report(10, 0.2), "RUNNING"), ("b", report(10, 0.9), "PRUNED")]
    return [{**result, "trial_id": name, "state": state, "phase": "search"} for name, result, state in rows]


def test_a_search_that_is_gone_on_with_knows_what_came_to_the_rungs() -> None:
    asha = pickle.loads(pickle.dumps(scheduler(earlier=earlier())))  # as Tune keeps it
    assert decisions(asha, [("c", report(10, 0.5))]) == [STOP]
    assert decisions(asha, [("a", report(10, 0.2))]) == [GO_ON]
    assert decisions(asha, [("d", report(10, 0.1))]) == [GO_ON]
