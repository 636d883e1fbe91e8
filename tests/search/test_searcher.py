from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from raywce.search.driver import Run
from raywce.search.sampler import Task, cube_of
from raywce.search.searcher import ConstrainedOptunaSearch, ListedRuns, Values, suggestion_id
from raywce.selection.equal_weights import Ratios
from raywce.selection.limits import Rule
from raywce.selection.search_model import Noise, Plan, World

optuna.logging.set_verbosity(optuna.logging.ERROR)

SPACE = {
    "weighting.alpha": FloatDistribution(1, 6),
    "training.optimizer.learning_rate": FloatDistribution(1e-6, 1e-3, log=True),
}
POINTS = [
    {"weighting.alpha": 2.0, "training.optimizer.learning_rate": 1e-5},
    {"weighting.alpha": 5.0, "training.optimizer.learning_rate": 1e-5},
]
NAMES = ["pt", "es"]


def searcher(kind: str = "random", seed: int = 0, **changes: Any) -> ConstrainedOptunaSearch:
    settings: dict[str, Any] = {"constraints": NAMES, "study_name": "toy", "points": POINTS}
    space = dict(changes.pop("space", SPACE))
    if kind == "noise_aware":
        settings["task"] = noisy(space)
    return ConstrainedOptunaSearch(space, sampler=kind, seed=seed, **{**settings, **changes})


def noisy(space: dict[str, Any]) -> Task:
    """What `toy` stands before: limits of one point above 20 %, and a baseline at alpha 1."""
    cube = cube_of(space)
    baseline = np.array([[0.6, *[0.2] * 2], [0.61, *[0.202] * 2], [0.59, *[0.198] * 2]])
    world = World(
        low_resource=1,
        rules=[Rule("baseline", 0.0, 0.01)] * 2,
        fixed=np.full(2, np.nan),
        words=np.full(3, 10_000.0),
        baseline=baseline,
        at=np.zeros(len(space)),
        choices=cube.choices,
        noise=Noise.of(baseline, np.full(3, 10_000.0), [100.0] * 3),
    )
    return Task(["gl", *NAMES], world, Plan(6, 6), trials=30)


def report(objective: float | None = 0.5, step: int = 10, final: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "objective": objective,
        "step": step,
        "final": final,
        "training_iteration": 1,
        "violation/es": -1.0,
        "violation/pt": 0.5,
        **more,
    }


def with_wers(figures: dict[str, Any]) -> dict[str, Any]:
    """The rates that objective and violations follow from."""
    high = {f"wer/{name}": 0.21 + figures[f"violation/{name}"] / 100 for name in NAMES}
    return {**figures, "wer/gl": figures["objective"], **high}


def journal(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path)))


def toy(values: dict[str, Any]) -> dict[str, Any]:
    """Low-resource WER falls with alpha; the limit is a line through the box, with the optimum on it."""
    alpha, rate = values["weighting.alpha"], math.log10(values["training.optimizer.learning_rate"])
    objective = 0.6 - 0.05 * alpha + 0.08 * (rate + 4.2) ** 2
    push = alpha * (1 + 0.3 * (rate + 5))
    return with_wers(report(objective, **{"violation/pt": 1.5 * push - 5.0, "violation/es": push - 4.5}))


def run(search: ConstrainedOptunaSearch, begin: int, end: int) -> list[dict[str, Any]]:
    suggestions = []
    for number in range(begin, end):
        suggestions.append(search.suggest(f"t{number}"))
        search.on_trial_complete(f"t{number}", toy(suggestions[-1]["values"]))
    return suggestions


# --- how a trial ends ---------------------------------------------------------------------------------------------


def test_a_complete_trial_carries_its_constraints_by_name_in_one_order() -> None:
    search = searcher()
    search.suggest("a")
    search.on_trial_complete("a", report())
    trial = search.study.trials[0]
    assert trial.state is TrialState.COMPLETE
    assert trial.value == 0.5
    assert list(trial.constraints.items()) == [("pt", 0.5), ("es", -1.0)]


def test_steps_are_ones_own() -> None:
    search = searcher()
    search.suggest("a")
    for step in (10, 20, 20):  # a restart repeats a step; training_iteration is 1 in all of them
        search.on_trial_result("a", report(1 / step, step, final=False))
    search.on_trial_complete("a", report(0.01, 30))
    assert search.study.trials[0].intermediate_values == {10: 0.1, 20: 0.05, 30: 0.01}


def test_a_report_without_evaluation_holds_nothing_for_optuna() -> None:
    search = searcher()
    search.suggest("a")
    search.on_trial_result("a", report(None, 10, final=False))
    search.on_trial_result("a", {"step": 20, "loss/es": 1.0})
    assert search.study.trials[0].intermediate_values == {}


def test_a_trial_stopped_early_is_pruned_with_all_steps_and_constraints() -> None:
    search = searcher()
    search.suggest("a")
    search.on_trial_result("a", report(0.9, 10, final=False))
    search.on_trial_complete("a", report(0.8, 20, final=False))
    trial = search.study.trials[0]
    assert trial.state is TrialState.PRUNED
    assert trial.intermediate_values == {10: 0.9, 20: 0.8}
    assert list(trial.constraints) == NAMES


def test_a_trial_stopped_between_two_evaluations_has_the_figures_of_the_last_one() -> None:
    search = searcher()
    search.suggest("a")
    search.on_trial_result("a", report(0.9, 10, final=False))
    search.on_trial_complete("a", {"step": 15, "loss/es": 1.0})
    trial = search.study.trials[0]
    assert trial.state is TrialState.PRUNED
    assert trial.intermediate_values == {10: 0.9}
    assert list(trial.constraints.items()) == [("pt", 0.5), ("es", -1.0)]


def test_a_trial_stopped_before_its_first_evaluation_fails() -> None:
    search = searcher()
    search.suggest("a")
    search.on_trial_complete("a", {"step": 5, "loss/es": 1.0})
    trial = search.study.trials[0]
    assert trial.state is TrialState.FAIL
    assert trial.user_attrs["reason"] == "stopped before its first evaluation"


@pytest.mark.parametrize(
    ("result", "error", "reason"),
    [
        (report(math.nan), False, "objective"),
        (report(None), False, "objective"),
        (report(**{"violation/es": math.nan}), False, "violation/es"),
        (None, False, "stopped before its first evaluation"),
        (report(failure="loss is not finite at step 3"), False, "loss is not finite at step 3"),
        (report(), True, "error"),
    ],
)
def test_a_trial_without_a_figure_fails_with_its_reason(result, error, reason) -> None:
    search = searcher()
    search.suggest("a")
    search.on_trial_complete("a", result, error)
    trial = search.study.trials[0]
    assert trial.state is TrialState.FAIL
    assert reason in trial.user_attrs["reason"]


def test_an_infinite_violation_is_bounded() -> None:
    search = searcher()
    search.suggest("a")
    search.on_trial_complete("a", report(**{"violation/es": math.inf}))
    assert math.isfinite(search.study.trials[0].constraints["es"])


def test_a_second_completion_is_ignored() -> None:
    search = searcher()
    search.suggest("a")
    search.on_trial_complete("a", report(0.5))
    search.on_trial_complete("a", report(0.4))
    search.on_trial_result("a", report(0.4, 99))
    assert search.study.trials[0].value == 0.5


# --- going on -----------------------------------------------------------------------------------------------------


def rows(suggestion: dict[str, Any], state: str = "COMPLETE", **more: Any) -> dict[str, list[dict[str, Any]]]:
    """A trial in the table, after one report."""
    values = {f"config/{path}": value for path, value in suggestion["values"].items()}
    last = {
        **report(0.5),
        "trial_id": suggestion["trial_id"],
        "seed": suggestion["seed_index"],
        "state": state,
        "reason": None,
        **values,
        **more,
    }
    return {suggestion["trial_id"]: [last]}


def test_each_trial_has_a_training_seed_of_its_own_and_keeps_it() -> None:
    search = searcher(own_seeds=3, training_seed=10)
    first, second = search.suggest("a"), search.suggest("b")
    assert [first["seed_index"], second["seed_index"]] == [3, 4]
    left = rows(first, state="RUNNING", seed=10)  # of a run whose trials had one seed
    again = searcher(own_seeds=3, training_seed=10, earlier=left)
    assert [again.suggest(name)["seed_index"] for name in ("c", "d")] == [0, 4]


def test_what_ended_in_the_study_and_in_the_table_is_left_alone(tmp_path: Path) -> None:
    search = searcher(storage=journal(tmp_path / "study"))
    first = search.suggest("a")
    search.on_trial_complete("a", report(0.5))
    again = searcher(storage=journal(tmp_path / "study"), earlier=rows(first, objective=0.4))
    assert [trial.value for trial in again.study.trials] == [0.5]
    assert again.suggest("b")["trial_id"].startswith("search-001")


def test_what_had_not_ended_is_suggested_again_before_anything_new(tmp_path: Path) -> None:
    search = searcher(storage=journal(tmp_path / "study"))
    done, unwritten, running = (search.suggest(name) for name in "abc")
    search.on_trial_complete("a", report())
    search.on_trial_complete("b", report(0.4))  # and killed before the table knew
    again = searcher(storage=journal(tmp_path / "study"), earlier={**rows(done), **rows(running, "RUNNING")})
    assert [again.suggest("d"), again.suggest("e")] == [unwritten, running]
    again.on_trial_result("d", report(0.9, 5))
    again.on_trial_complete("d", report(0.9))
    again.on_trial_complete("e", report(0.3))
    assert [trial.value for trial in again.study.trials] == [0.5, 0.4, 0.3]
    assert again.suggest("f")["trial_id"].startswith("search-003")


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        ("COMPLETE", None, TrialState.COMPLETE),
        ("PRUNED", None, TrialState.PRUNED),
        ("FAIL", "loss is not finite", TrialState.FAIL),
    ],
)
@pytest.mark.parametrize("in_file", [True, False])
def test_the_study_is_told_how_trials_ended_in_the_table(
    state: str, reason: str | None, expected: TrialState, in_file: bool, tmp_path: Path
) -> None:
    search = searcher(storage=journal(tmp_path / "study"))
    written = rows(search.suggest("a"), state, reason=reason, final=state == "COMPLETE")
    study = tmp_path / ("study" if in_file else "a new one")
    (trial,) = searcher(storage=journal(study), earlier=written).study.trials
    assert trial.state is expected
    assert trial.params == search.study.trials[0].params
    assert trial.user_attrs.get("reason") == reason
    if expected is not TrialState.FAIL:
        assert trial.intermediate_values == {10: 0.5}
        assert list(trial.constraints.items()) == [("pt", 0.5), ("es", -1.0)]


def test_a_trial_that_is_gone_on_with_and_stopped_keeps_its_earlier_evaluation(tmp_path: Path) -> None:
    first = searcher(storage=journal(tmp_path / "study")).suggest("a")
    again = searcher(storage=journal(tmp_path / "study"), earlier=rows(first, "RUNNING", final=False))
    again.suggest("b")
    again.on_trial_complete("b", {"step": 15, "loss/es": 1.0})
    assert again.study.trials[0].state is TrialState.PRUNED


def test_a_suggestion_that_was_lost_among_others_is_made_again() -> None:
    first, _, third = (one for one in run(searcher("grid", seeds=2), 0, 3))
    again = searcher("grid", seeds=2, earlier={**rows(first), **rows(third)})
    made = [again.suggest("a"), again.suggest("b")]
    assert [one["trial_id"].split("-")[1] for one in made] == ["001", "003"]
    assert made[0]["values"] == POINTS[1]
    assert again.suggest("c") == again.FINISHED


def test_when_the_time_is_over_only_what_was_begun_is_suggested(tmp_path: Path) -> None:
    first = searcher(storage=journal(tmp_path / "study")).suggest("a")
    late = searcher(storage=journal(tmp_path / "study"), earlier=rows(first, "RUNNING"), is_over=lambda: True)
    assert late.suggest("b") == first
    assert late.suggest("c") == late.FINISHED


def test_a_trial_without_all_its_values_is_closed_and_made_again(tmp_path: Path) -> None:
    search = searcher(storage=journal(tmp_path / "study"))
    search.study.ask({"weighting.alpha": SPACE["weighting.alpha"]})
    again = searcher(storage=journal(tmp_path / "study"))
    assert [trial.state for trial in again.study.trials] == [TrialState.FAIL]
    assert again.suggest("a") == searcher().suggest("a")


def test_the_first_points_are_tried_once_each_on_a_re_run(tmp_path: Path) -> None:
    for _ in range(3):
        search = searcher(storage=journal(tmp_path / "study"))
    drawn = [suggestion["values"] for suggestion in run(search, 0, 4)]
    assert drawn[:2] == POINTS
    assert all(values not in POINTS for values in drawn[2:])
    assert len(search.study.trials) == 4


def test_experiments_that_share_a_storage_have_studies_of_their_own(tmp_path: Path) -> None:
    run(searcher(storage=journal(tmp_path / "study"), study_name="one"), 0, 2)
    other = searcher(storage=journal(tmp_path / "study"), study_name="two")
    assert other.study.study_name == "two"
    assert other.study.trials == []


# --- what is suggested --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["random", "tpe", "gp", "noise_aware"])
@pytest.mark.parametrize("in_file", [True, False])
def test_same_seed_same_suggestions_also_where_a_search_goes_on(kind: str, in_file: bool, tmp_path: Path) -> None:
    length = 14 if kind == "tpe" else 7
    whole = run(searcher(kind), 0, length)

    first = run(searcher(kind, storage=journal(tmp_path / "study")), 0, length - 3)
    written = {name: of for one in first for name, of in rows(one, **toy(one["values"])).items()}
    again = searcher(kind, storage=journal(tmp_path / "study") if in_file else None, earlier=written)
    assert first + run(again, length - 3, length) == whole

    other = run(searcher(kind, seed=1), 0, 4)
    assert other[:2] == whole[:2]  # the first points
    assert other[2:] != whole[2:4]


@pytest.mark.parametrize("kind", ["noise_aware", "gp", "tpe"])
def test_with_a_number_of_trials_at_once_it_makes_no_difference_which_ends_first(kind: str) -> None:
    def suggestions(at_once: int | None, last_first: bool) -> list[dict[str, Any]]:
        search, found = searcher(kind, at_once=at_once, alike=lambda *_: False), []
        running: dict[str, dict[str, Any]] = {}
        while len(found) < 14:
            suggestion = search.suggest(f"t{len(found)}") if len(running) < 2 else None
            if suggestion is None:
                ending = [*running][-1 if last_first else 0]
                search.on_trial_complete(ending, toy(running.pop(ending)["values"]))
            else:
                running[f"t{len(found)}"] = suggestion
                found.append(suggestion)
        return found

    assert suggestions(2, last_first=False) == suggestions(2, last_first=True)
    assert suggestions(None, last_first=False) != suggestions(None, last_first=True)


def test_the_gaussian_process_begins_after_the_points_and_two_more(monkeypatch: pytest.MonkeyPatch) -> None:
    modelled: list[int] = []
    threads: list[int] = []
    original = optuna.samplers.GPSampler._sample_relative_impl

    def spy(self: Any, study: Any, completed: Any, *rest: Any) -> Any:
        modelled.append(len(completed))
        threads.append(torch.get_num_threads())
        return original(self, study, completed, *rest)

    monkeypatch.setattr(optuna.samplers.GPSampler, "_sample_relative_impl", spy)
    run(searcher("gp"), 0, 7)
    assert modelled == [4, 5, 6]  # completed trials that each model was fitted to: two points, two random ones
    assert threads == [1, 1, 1], "more would wait for each other beside a training"


def test_a_point_with_choices_keeps_its_types() -> None:
    space = {"weighting.adaptive": CategoricalDistribution([True, False]), **SPACE}
    points = [{"weighting.adaptive": False, **POINTS[0]}]
    values = searcher("gp", space=space, points=points).suggest("a")["values"]
    assert values == points[0]
    assert values["weighting.adaptive"] is False


def test_ids_are_in_order_and_tell_values_apart() -> None:
    one, two = suggestion_id(7, POINTS[0]), suggestion_id(7, POINTS[1])
    assert one.startswith("search-007-")
    assert one != two
    assert one == suggestion_id(7, dict(reversed(POINTS[0].items())))


@pytest.mark.parametrize("kind", ["gp", "tpe", "noise_aware"])
def test_a_constrained_search_beats_random_draws(kind: str) -> None:
    def best(kind: str, seed: int, trials: int) -> float:
        results = [toy(suggestion["values"]) for suggestion in run(searcher(kind, seed, points=[]), 0, trials)]
        feasible = [r["objective"] for r in results if r["violation/es"] <= 0 and r["violation/pt"] <= 0]
        return min(feasible, default=math.inf)

    trials = 11 if kind == "gp" else 30
    seeds = range(3)
    guided = sorted(best(kind, seed, trials) for seed in seeds)[1]
    random = sorted(best("random", seed, trials) for seed in seeds)[1]
    assert guided < random


def test_a_grid_tries_each_point_with_each_seed_and_is_through() -> None:
    search = searcher("grid", seeds=2)
    suggestions = run(search, 0, 4)
    assert [(one["values"], one["seed_index"]) for one in suggestions] == [
        (POINTS[0], 0),
        (POINTS[1], 0),
        (POINTS[0], 1),
        (POINTS[1], 1),
    ]
    assert len({one["trial_id"].split("-")[2] for one in suggestions}) == 4
    assert search.suggest("one more") == search.FINISHED


def test_one_run_after_the_other_then_no_more() -> None:
    runs = [Run("baseline-0", evaluates_original=True), Run("baseline-1", seed_index=1)]
    searcher = ListedRuns(runs)
    assert [Run.of(searcher.suggest(name)) for name in ("a", "b")] == runs
    assert searcher.suggest("c") == searcher.FINISHED


# --- trainings that are there already ------------------------------------------------------------------------------


FLAT = {"weighting.alpha": FloatDistribution(1, 10)}
BELOW = 8.0  # the loss ratio of every step: alphas below it are one training


def train_alike(one: Values, other: Values, ratios: Ratios) -> bool:
    first, second = one["weighting.alpha"], other["weighting.alpha"]
    return list(ratios) == [BELOW] * 4 and (first == second or max(first, second) <= BELOW)  # type: ignore[type-var]


def of_flat(values: Values) -> dict[str, Any]:
    alpha = max(BELOW, float(values["weighting.alpha"]))  # type: ignore[arg-type]
    limits = {"violation/pt": alpha - 9.0, "violation/es": -1.0}
    return with_wers(report(0.6 - 0.01 * alpha, step=4, ratios=[BELOW] * 2, **limits))


def train(search: ConstrainedOptunaSearch, name: str) -> float:
    suggestion = search.suggest(name)
    search.on_trial_result(name, report(None, step=2, final=False, ratios=[BELOW] * 2))
    search.on_trial_complete(name, of_flat(suggestion["values"]))
    return float(suggestion["values"]["weighting.alpha"])


def flat(kind: str, **changes: Any) -> ConstrainedOptunaSearch:
    settings = {"space": FLAT, "points": [{"weighting.alpha": 2.0}], "alike": train_alike}
    return searcher(kind, **{**settings, **changes})


@pytest.mark.parametrize("kind", ["random", "tpe", "gp", "noise_aware"])
def test_a_training_that_is_there_already_is_not_suggested_again(kind: str) -> None:
    search = flat(kind)
    alphas = [train(search, f"t{number}") for number in range(8)]
    assert alphas[0] == 2.0
    assert all(alpha > BELOW for alpha in alphas[1:]), "seven in nine of them would be below at random"
    assert len(search.study.trials) == 8, "what was passed over leaves nothing in the study"
    drawn = searcher("random", space=FLAT, points=[{"weighting.alpha": 2.0}])
    assert sum(train(drawn, f"t{number}") <= BELOW for number in range(8)) > 4


def test_trials_of_an_interrupted_search_count(tmp_path: Path) -> None:
    def rows(trial_id: str, alpha: float) -> list[dict[str, Any]]:
        cells = {"trial_id": trial_id, "config/weighting.alpha": alpha, "seed": 0, "state": "COMPLETE", "reason": None}
        half = {"step": 2, "objective": None, "final": False, "ratios": [BELOW] * 2}
        return [cells | half, cells | of_flat({"weighting.alpha": alpha})]

    whole = flat("gp")
    alphas = [train(whole, f"t{number}") for number in range(4)]
    ids = [trial.user_attrs["trial_id"] for trial in whole.study.trials]
    table = {trial_id: rows(trial_id, alpha) for trial_id, alpha in zip(ids[:3], alphas[:3], strict=True)}
    resumed = flat("gp", earlier=table)
    assert train(resumed, "t3") == alphas[3]


def test_where_every_setting_is_there_already_one_comes_again() -> None:
    search = flat("random", space={"weighting.alpha": FloatDistribution(1, 3)})
    assert [train(search, f"t{number}") <= 3 for number in range(3)] == [True] * 3


def test_points_that_are_listed_are_tried_as_they_are() -> None:
    search = searcher("gp", space=FLAT, points=[{"weighting.alpha": float(n)} for n in (2, 3, 4)], alike=train_alike)
    assert [train(search, f"t{number}") for number in range(3)] == [2.0, 3.0, 4.0]
