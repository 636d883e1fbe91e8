"""Searchers for Tune: Optuna's suggestions under named constraints, or known runs."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import count
from operator import attrgetter

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch
from threadpoolctl import threadpool_limits

from raywce.experiment.space import Scalar
from raywce.search.driver import Run
from raywce.search.sampler import RATES, NoiseAwareSampler, Task
from raywce.selection.equal_weights import Ratios
from raywce.selection.sampler_choice import SamplerKind
from raywce.selection.trials import FAIL, RUNNING, Row, values_of
from raywce.trial_report import OBJECTIVE, Flat, Report

Values = Mapping[str, Scalar]
Alike = Callable[[Values, Values, Ratios], bool]

NEVER_EVALUATED = "stopped before its first evaluation"

_MOST_REPEATS = 20  # of a training that is there already, before one is suggested again
_MORE_EVEN = 3  # trials that fill the space after the first points, before the noise-aware sampler's model begins
_MORE_RANDOM = 2  # trials drawn at random after the first points, before the Gaussian process begins
_LARGEST = 1e6  # Optuna's samplers standardise constraints: an infinite one would spoil all others


class ConstrainedOptunaSearch(OptunaSearch):
    """Minimises `objective` subject to one named constraint a language (violation <= 0).

    A result may hold `objective`, `step`, `final`, `failure` and `violation/<name>`. How a trial ends for Optuna:

    * a `failure` (a reason), an error, or a last value that is missing or NaN: FAIL, with the reason;
    * a last result that is not `final`: PRUNED, with all its steps and the constraints of its last evaluation, or FAIL
      where it had none;
    * else COMPLETE.

    Suggestions are `{"trial_id": "search-007-1a2b3c", "seed_index": 0, "values": {key path: value}}`: the id holds the
    index of the suggestion and a digest of its values and seed, so that one made again after a crash finds its own
    folder, and no other's. The training's seed is the experiment's plus `seed_index`.

    A setting that would be the training of another again (`raywce.selection.equal_weights`) is not suggested: in a copy
    of the study, it has that one's figures, and the sampler is asked again.

    With a fixed number of trials at once, n, suggestion i is made from the results up to i - n, and from no later one:
    it waits for them, and is the same whichever trial ends first.
    """

    def __init__(
        self,
        space: dict[str, BaseDistribution],
        *,
        constraints: Sequence[str],
        sampler: SamplerKind,
        seed: int,
        study_name: str,
        points: Sequence[Mapping[str, Scalar]] = (),
        seeds: int = 1,
        own_seeds: int | None = None,
        training_seed: int = 0,
        storage: optuna.storages.BaseStorage | None = None,
        earlier: Mapping[str, Sequence[Row]] | None = None,
        at_once: int | None = None,
        is_over: Callable[[], bool] = lambda: False,
        alike: Alike | None = None,
        task: Task | None = None,
        rates: Callable[[Report], Mapping[str, float]] = attrgetter("wer"),
    ) -> None:
        """Open the study, and make it agree with the table.

        Args:
            space: key path to distribution, never empty.
            constraints: names in the order in which every trial carries them.
            sampler: which draws the trials.
            seed: of all its draws.
            study_name: the experiment's name, as experiments may share a storage.
            points: values over exactly the space's key paths, tried first; with a grid they are all that is tried.
            seeds: how often the points are tried, all of them with one seed before the next.
            own_seeds: seed index of the first suggestion, where each has one of its own: a lucky seed lifts one trial,
                not all. None: they share the first, and a grid's the `seeds`.
            training_seed: the experiment's, to which a seed index is added.
            storage: Optuna's; None: in memory.
            earlier: rows of `trials.parquet` by trial, of a search that is resumed. What has ended there has
                ended in the study; what has not is suggested again, before anything new.
            at_once: how many trials run at once; None: as many as there is room for.
            is_over: whether the time for new trials is over.
            alike: whether the values of a complete trial, and others, are one training, by its loss ratios; None:
                nothing is known of that.
            task: of the noise-aware sampler.
            rates: which rates of a report count, by language; that sampler knows a trial by them.
        """
        self._constraints = tuple(constraints)
        self._kind, self._first_seed = sampler, seed
        self._at_once = at_once
        self._is_over, self._alike, self._task, self._rates = is_over, alike, task, rates
        self._reports: dict[str, dict[int, Report]] = {}  # by step, of running trials
        self._trained: dict[int, _Trained] = {}  # by suggestion
        self._points = tuple(points) * seeds
        self._points_of_a_seed, self._own_seeds, self._training_seed = len(points), own_seeds, training_seed
        super().__init__(
            space,
            metric=OBJECTIVE,
            mode="min",
            sampler=RandomSampler(seed),  # each suggestion has its own
            study_name=study_name,
            storage=storage,
        )
        earlier = earlier or {}
        trials = self._known(earlier)
        self._suggested = set(map(_suggestion_of, trials))
        self._unfinished = list(self._unfinished_of(trials, earlier))

    @property
    def study(self) -> optuna.Study:
        """The Optuna study."""
        return self._ot_study

    def suggest(self, trial_id: str) -> dict[str, object] | str | None:
        """Return the next trial's id and values; the same again for a `trial_id` that was asked before.

        At the end of a grid, and when the time is over, it is `FINISHED`; None: not now.
        """
        if trial_id not in self._ot_trials:
            is_through = self._kind == "grid" and self._next >= len(self._points)
            if self._unfinished:
                self._ot_trials[trial_id], self._reports[trial_id] = self._unfinished.pop(0)
            elif is_through or self._is_over():
                return str(self.FINISHED)
            elif self._waits():
                return None
            else:
                self._ot_trials[trial_id] = self._ask()
        trial = self._ot_trials[trial_id]
        named = {name: trial.user_attrs[name] for name in ("trial_id", "seed_index")}
        return {**named, "values": dict(trial.params)}

    @property
    def _next(self) -> int:
        """The first suggestion that is not in the table: of several at once, a later one may have got there before."""
        return next(index for index in count() if index not in self._suggested)

    def _waits(self) -> bool:
        """Return whether a trial runs whose result the next suggestion has to know."""
        suggestion = self._next
        if self._at_once is None or suggestion < len(self._points):
            return False
        known = (name for name, of in self._ot_trials.items() if self._counts(_number(of), suggestion))
        return not all(map(self._is_finished, known))

    def _counts(self, one: int, suggestion: int) -> bool:
        """Return whether what became of one suggestion counts for another."""
        return self._at_once is None or one <= suggestion - self._at_once

    def _ask(self) -> optuna.Trial:
        suggestion = self._next
        # A Gaussian process is small: more threads only wait for each other where trainings hold the processors.
        with threadpool_limits(1) if self._kind in ("gp", "noise_aware") else nullcontext():
            self._ot_study.sampler = self._sampler_of(suggestion)
            if suggestion >= len(self._points):
                self._ot_study.sampler = _fixed(self._values(self._ot_study.sampler, suggestion))
            trial = self._ot_study.ask(fixed_distributions=self._space)
        seed_index = self._seed_index(suggestion)
        trial.set_user_attr("seed_index", seed_index)
        trial.set_user_attr("trial_id", suggestion_id(suggestion, trial.params, seed_index))
        self._suggested.add(suggestion)
        return trial

    def _sampler_of(self, suggestion: int) -> BaseSampler:
        """Return the sampler of one suggestion: made afresh from (seed, suggestion), so that it can be made again."""
        seed = int(np.random.SeedSequence([self._first_seed, suggestion]).generate_state(1)[0])
        if suggestion < len(self._points):
            # Not Optuna's queue: what is taken from it and then lost would never be tried.
            return _fixed(self._points[suggestion], seed)
        if self._kind == "random":
            return RandomSampler(seed=seed)
        if self._kind == "tpe":
            return TPESampler(seed=seed, constant_liar=True)
        if self._kind == "noise_aware":
            assert self._task, "it knows the noise from its task"
            startup = len(self._points) + _MORE_EVEN
            return NoiseAwareSampler(self._space, self._task, self._first_seed, suggestion, startup)
        return GPSampler(seed=seed, n_startup_trials=len(self._points) + _MORE_RANDOM)

    def _values(self, sampler: BaseSampler, suggestion: int) -> dict[str, Scalar]:
        """Return the sampler's next values that are no training again that is complete; after many, any."""
        copy = optuna.create_study(sampler=sampler)
        copy.add_trials(self._seen(suggestion))
        trained = [of for one, of in sorted(self._trained.items()) if self._counts(one, suggestion)]
        for _ in range(_MOST_REPEATS):
            trial = copy.ask(fixed_distributions=self._space)
            like = next((one for one in trained if self._is_alike(one, trial.params)), None)
            if like is None:
                break
            self._set_figures(trial, like.last)
            copy.tell(trial, like.last.objective)
        return dict(trial.params)

    def _seen(self, suggestion: int) -> Iterator[optuna.trial.FrozenTrial]:
        """Yield the trials in their order, as a suggestion may see them: one whose result doesn't count is running."""
        trials = [one for one in self._ot_study.get_trials(deepcopy=False) if "trial_id" in one.user_attrs]
        for trial in sorted(trials, key=_number):
            if self._counts(_number(trial), suggestion):
                yield trial
            else:
                yield optuna.trial.create_trial(
                    state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions
                )

    def _is_alike(self, one: _Trained, values: Values) -> bool:
        return self._alike is not None and self._alike(one.values, values, one.ratios)

    def _seed_index(self, suggestion: int) -> int:
        if self._own_seeds is not None:
            return self._own_seeds + suggestion
        return suggestion // self._points_of_a_seed if suggestion < len(self._points) else 0

    def on_trial_result(self, trial_id: str, result: Flat) -> None:
        """Pass an evaluation on to Optuna, at its own step; other reports hold nothing for it."""
        if trial_id in self._ot_trials and not self._is_finished(trial_id):
            report = Report.of(result)
            self._pass_on(self._ot_trials[trial_id], report)
            self._reports.setdefault(trial_id, {})[report.step] = report

    def on_trial_complete(self, trial_id: str, result: Flat | None = None, error: bool = False) -> None:
        """Report to Optuna how the trial ended, once."""
        if trial_id not in self._ot_trials or self._is_finished(trial_id):
            return
        ending = Report.of(result or {})
        if error:
            ending = replace(ending, failure="the trial ended with an error")
        self._end(self._ot_trials[trial_id], [*self._reports.pop(trial_id, {}).values(), ending])

    def _end(self, trial: optuna.Trial, reports: Sequence[Report]) -> None:
        """Report to Optuna how a trial ended, by its last reports."""
        last = reports[-1]
        if not (last.final or last.failure):  # stopped: what counts is where it was evaluated last
            evaluated = [one for one in reports if not _is_missing(one.objective)]
            last = evaluated[-1] if evaluated else Report(failure=NEVER_EVALUATED)
        reason = self._why_failed(last)
        if reason:
            trial.set_user_attr("reason", reason)
            self._ot_study.tell(trial, state=TrialState.FAIL)
            return
        # Tune gives the last result of a trial that it stops to nobody else.
        self._pass_on(trial, last)
        self._set_figures(trial, last)
        if last.final:
            self._ot_study.tell(trial, last.objective)
            self._trained[_number(trial)] = _Trained.of(trial.params, reports)
        else:
            self._ot_study.tell(trial, state=TrialState.PRUNED)

    def _set_figures(self, trial: optuna.Trial, report: Report) -> None:
        if self._kind == "noise_aware":
            trial.set_user_attr(RATES, dict(self._rates(report)))
        for name in self._constraints:
            trial.set_constraint(name, max(-_LARGEST, min(_LARGEST, report.violations[name])))

    def _known(self, earlier: Mapping[str, Sequence[Row]]) -> dict[str, optuna.Trial]:
        """Return all trials suggested before, in that order; the study gets those of the table that it lacks."""
        found = {}
        for stored in self._ot_study.get_trials(deepcopy=False):
            if "trial_id" in stored.user_attrs:
                found[stored.user_attrs["trial_id"]] = optuna.Trial(self._ot_study, stored._trial_id)
            elif not stored.state.is_finished():  # lost before it had its values; samplers would avoid its place
                self._ot_study.tell(stored.number, state=TrialState.FAIL)
        for trial_id in sorted(set(earlier) - set(found), key=_suggestion_of):
            found[trial_id] = self._added(trial_id, earlier[trial_id][0])
        return {trial_id: found[trial_id] for trial_id in sorted(found, key=_suggestion_of)}

    def _added(self, trial_id: str, row: Row) -> optuna.Trial:
        running = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=values_of(row),
            distributions=self._space,
            user_attrs={"seed_index": row["seed"] - self._training_seed, "trial_id": trial_id},
        )
        self._ot_study.add_trial(running)
        return optuna.Trial(self._ot_study, self._ot_study.get_trials(deepcopy=False)[-1]._trial_id)

    def _unfinished_of(
        self, trials: Mapping[str, optuna.Trial], earlier: Mapping[str, Sequence[Row]]
    ) -> Iterator[tuple[optuna.Trial, dict[int, Report]]]:
        """Report to the study what has ended in the table; yield the other trials, each with its reports by step."""
        for trial_id, trial in trials.items():
            rows = earlier.get(trial_id, ())
            reports = [Report.of(row) for row in rows]
            if not rows or rows[-1]["state"] == RUNNING:
                yield trial, {report.step: report for report in reports}
            elif _stored(trial).state is TrialState.COMPLETE:
                self._trained[_suggestion_of(trial_id)] = _Trained.of(trial.params, reports)
            elif not _stored(trial).state.is_finished():
                for report in reports:
                    self._pass_on(trial, report)
                failure = rows[-1]["reason"] if rows[-1]["state"] == FAIL else None
                self._end(trial, [*reports[:-1], replace(reports[-1], failure=failure)])

    def _is_finished(self, trial_id: str) -> bool:
        return bool(_stored(self._ot_trials[trial_id]).state.is_finished())

    def _pass_on(self, trial: optuna.Trial, report: Report) -> None:
        value = report.objective
        if value is not None and not math.isnan(value) and report.step not in _stored(trial).intermediate_values:
            trial.report(value, report.step)

    def _why_failed(self, report: Report) -> str | None:
        if report.failure:
            return report.failure
        missing = [OBJECTIVE] if _is_missing(report.objective) else []
        missing += [f"violation/{name}" for name in self._constraints if _is_missing(report.violations.get(name))]
        return f"missing or not a number in the last report: {', '.join(missing)}" if missing else None


@dataclass(frozen=True)
class _Trained:
    """A complete trial: its values, the loss ratio of each step, and its last report."""

    values: Values
    ratios: Ratios
    last: Report

    @classmethod
    def of(cls, values: Values, reports: Sequence[Report]) -> _Trained:
        ratios = {report.step: report.ratios for report in reports}
        return cls(dict(values), [ratio for step in sorted(ratios) for ratio in ratios[step]], reports[-1])


def _fixed(values: Values, seed: int = 0) -> BaseSampler:
    """Return a sampler that draws these values; others at random."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PartialFixedSampler(dict(values), RandomSampler(seed=seed))


class ListedRuns(Searcher):  # type: ignore[misc]
    """Tune searcher for runs that are known beforehand: one after the other, as `Run.of` reads them."""

    def __init__(self, runs: Iterable[Run]) -> None:
        super().__init__(metric=None, mode=None)
        self._left = list(runs)

    def suggest(self, trial_id: str) -> dict[str, object] | str:
        """Return the next run, or that there is none."""
        return {"run": asdict(self._left.pop(0))} if self._left else str(self.FINISHED)

    def on_trial_complete(self, trial_id: str, result: Flat | None = None, error: bool = False) -> None:
        """Do nothing: there is nothing to learn."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: nothing is resumed from Tune's own state."""

    restore = save


def suggestion_id(suggestion: int, values: Mapping[str, Scalar], seed_index: int = 0) -> str:
    """Return a trial's id: its suggestion's index, and a digest of its values and of a seed that is not the first."""
    digested = {**values, "training.seed": seed_index} if seed_index else dict(values)
    digest = hashlib.sha256(json.dumps(digested, sort_keys=True).encode()).hexdigest()
    return f"search-{suggestion:03d}-{digest[:6]}"


def _suggestion_of(trial_id: str) -> int:
    return int(trial_id.split("-")[1])


def _number(trial: optuna.Trial | optuna.trial.FrozenTrial) -> int:
    return _suggestion_of(trial.user_attrs["trial_id"])


def _stored(trial: optuna.Trial) -> optuna.trial.FrozenTrial:
    """Return the trial as the storage has it.

    Not by `Study.get_trials`, which lists all trials for each report of each.
    """
    return trial.storage.get_trial(trial._trial_id)


def _is_missing(value: float | None) -> bool:
    return value is None or math.isnan(value)
