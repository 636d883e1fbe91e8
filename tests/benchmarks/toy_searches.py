"""Whole searches on toys, without actors: the events that Tune would send, in the order in which it sends them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from raywce.search.scheduler import FeasibleFirstASHA
from raywce.search.searcher import ConstrainedOptunaSearch
from tests.search.curves import FIRST_RUNG, STEPS, intermediate
from tests.search.toys import Figures, Toy, Values

AT_ONCE = 4
PENALTY = 1000.0
FACTOR = 3


@dataclass(frozen=True)
class Result:
    """What a search came to.

    Attributes:
        best: the lowest objective of a whole, feasible trial; infinite where there is none.
        steps: made by all trials.
    """

    best: float
    steps: int


Search = Callable[[Toy, int, int], Result]


def ours(kind: Any) -> Search:
    """`ConstrainedOptunaSearch`, whole trials."""
    return lambda toy, seed, trials: whole_trials(searcher(kind, toy, seed), toy, trials)


def ours_stopping_early(toy: Toy, seed: int, trials: int) -> Result:
    """Constrained TPE and `FeasibleFirstASHA`."""
    scheduler = FeasibleFirstASHA((FIRST_RUNG,), STEPS, FACTOR)
    return curves(searcher("tpe", toy, seed), scheduler, toy, seed, trials)


def ours_never_stopping(kind: Any) -> Search:
    """`ConstrainedOptunaSearch` over the same curves."""
    return lambda toy, seed, trials: curves(searcher(kind, toy, seed), None, toy, seed, trials)


def plain_stopping_early(toy: Toy, seed: int, trials: int) -> Result:
    """Ray's `OptunaSearch` (TPE) and Tune's ASHA, both on the raw objective."""
    scheduler = AsyncHyperBandScheduler("step", "objective", "min", STEPS, FIRST_RUNG, FACTOR, stop_last_trials=False)
    return curves(_plain(toy, seed), scheduler, toy, seed, trials)


def plain(toy: Toy, seed: int, trials: int) -> Result:
    """Ray's `OptunaSearch` (TPE), which knows no constraints."""
    return whole_trials(_plain(toy, seed), toy, trials)


def penalised(toy: Toy, seed: int, trials: int) -> Result:
    """Ray's `OptunaSearch` (TPE), an infeasible trial's objective raised by `PENALTY`."""
    return whole_trials(_plain(toy, seed), toy, trials, lambda found: PENALTY * (not found.feasible))


def optunas_own(sampler: Callable[[int], BaseSampler]) -> Search:
    """Optuna by itself: ask and tell, with constraints."""

    def search(toy: Toy, seed: int, trials: int) -> Result:
        study = optuna.create_study(sampler=sampler(seed))
        running: list[tuple[optuna.Trial, Figures]] = []
        done: list[Figures] = []
        for _ in range(trials):
            if len(running) == AT_ONCE:
                done.append(_tell(study, *running.pop(0)))
            trial = study.ask(fixed_distributions=toy.space)
            running.append((trial, toy.evaluate(trial.params)))
        done += [_tell(study, *pair) for pair in running]
        return Result(_best(done), len(done))

    return search


METHODS: dict[str, Search] = {
    "raywce: gp": ours("gp"),
    "Optuna's own GP, with constraints": optunas_own(lambda seed: GPSampler(seed=seed)),
    "raywce: tpe": ours("tpe"),
    "OptunaSearch, penalty": penalised,
    "OptunaSearch, blind": plain,
    "random": optunas_own(lambda seed: RandomSampler(seed=seed)),
}
STOPPING: dict[str, Search] = {
    "raywce: tpe + feasible-first ASHA (auto)": ours_stopping_early,
    "OptunaSearch + ASHA on the raw objective": plain_stopping_early,
    "raywce: tpe, whole trials": ours_never_stopping("tpe"),
    "raywce: gp, whole trials": ours_never_stopping("gp"),
}


def whole_trials(
    search: OptunaSearch, toy: Toy, trials: int, penalty: Callable[[Figures], float] = lambda _: 0.0
) -> Result:
    """`AT_ONCE` at a time; the one that began first ends first."""
    running: list[tuple[str, Figures]] = []
    done: list[Figures] = []

    def end() -> None:
        name, found = running.pop(0)
        report = found.report(1, final=True)
        search.on_trial_complete(name, {**report, "objective": found.objective + penalty(found)})
        done.append(found)

    for number in range(trials):
        if len(running) == AT_ONCE:
            end()
        name = f"t{number}"
        running.append((name, toy.evaluate(_values(search.suggest(name)))))
    while running:
        end()
    return Result(_best(done), len(done))


def curves(search: OptunaSearch, scheduler: Any, toy: Toy, seed: int, trials: int) -> Result:
    """`AT_ONCE` at a time, a step each in turn; the scheduler decides on each report, as Tune asks it."""
    running: list[_Running] = []
    begun = steps = 0
    done: list[Figures] = []
    while running or begun < trials:
        while len(running) < AT_ONCE and begun < trials:
            running.append(_begin(search, scheduler, f"t{begun}"))
            begun += 1
        trial = running.pop(0)
        trial.step += 1
        steps += 1
        final = trial.step == STEPS
        found = intermediate(toy, trial.values, trial.step, seed)
        report = found.report(trial.step, final)
        stop = bool(scheduler) and scheduler.on_trial_result(None, trial.tune, report) == TrialScheduler.STOP
        if not stop:
            search.on_trial_result(trial.name, report)
        if not (stop or final):
            running.append(trial)
            continue
        if scheduler:
            scheduler.on_trial_complete(None, trial.tune, report)
        search.on_trial_complete(trial.name, report)
        done += [found] if final and not stop else []
    return Result(_best(done), steps)


@dataclass
class _Running:
    name: str
    values: Values
    step: int = 0

    @property
    def tune(self) -> Any:
        return SimpleNamespace(trial_id=self.name, config={"trial_id": self.name})


def _begin(search: OptunaSearch, scheduler: Any, name: str) -> _Running:
    trial = _Running(name, _values(search.suggest(name)))
    if scheduler:
        scheduler.on_trial_add(None, trial.tune)
    return trial


def searcher(kind: Any, toy: Toy, seed: int) -> ConstrainedOptunaSearch:
    constraints = list(toy.evaluate({name: _some(d) for name, d in toy.space.items()}).violations)
    settings = {"constraints": constraints, "sampler": kind, "seed": seed, "study_name": toy.name}
    return ConstrainedOptunaSearch(dict(toy.space), **settings)


def _plain(toy: Toy, seed: int) -> OptunaSearch:
    return OptunaSearch(dict(toy.space), metric="objective", mode="min", sampler=TPESampler(seed=seed))


def _some(distribution: Any) -> Any:
    return distribution.to_external_repr(0) if hasattr(distribution, "choices") else distribution.low


def _values(suggestion: dict[str, Any]) -> Values:
    values: Values = suggestion.get("values", suggestion)
    return values


def _tell(study: optuna.Study, trial: optuna.Trial, found: Figures) -> Figures:
    for name, value in found.violations.items():
        trial.set_constraint(name, value)
    study.tell(trial, found.objective)
    return found


def _best(done: list[Figures]) -> float:
    return min((found.objective for found in done if found.feasible), default=math.inf)
