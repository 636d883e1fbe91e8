"""What a search knows of each setting: rates of all languages, and whether the confirm phase would confirm it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import norm, t

from raywce.evaluation.arms import own_variance
from raywce.evaluation.confidence import Rates
from raywce.selection.limits import Rule
from raywce.selection.power import SEEDS, SUITS
from raywce.surrogate.process import Posterior, Process

Array = NDArray[np.float64]

_SEED_WEIGHT = 2.0  # of what is assumed of seeds before any is seen: as many of them
_COUNTING = 1.0  # errors, of those that a training makes, that another does not
_UNLIKELY = 0.001  # that noise alone puts one of a search's trials further off than that
_TINY = 1e-12
_TRUST = 2 / 3  # share of the search's evidence that counts beside held-out speech
_LEAST_MEASURED = 0.01  # of a difference's precision, by the trials: below it they say nothing
_LEAST_ERRORS = 0.5  # added to errors, so that a rate of 0 has a logarithm


@dataclass(frozen=True)
class Plan:
    """What the confirm phase will measure a candidate with.

    Attributes:
        seeds: of the candidate.
        baseline_seeds: of the baseline.
        confidence: of each limit, one-sided.
        speech: the search's part of dev, as a multiple of the confirm phase's: a variance over speakers there is so
            many times the search's.
    """

    seeds: int
    baseline_seeds: int
    confidence: float = 0.95
    speech: float = 1.0

    @cached_property
    def quantile(self) -> float:
        """Standard errors that a bound is above its estimate: Student's, at the seeds' degrees of freedom doubled."""
        return float(t.ppf(self.confidence, 2 * max(1, self.seeds + self.baseline_seeds - 2)))


@dataclass(frozen=True)
class Noise:
    """How much measured rates differ, as relative variances.

    Attributes:
        common: between trainings of one setting, over speech without end.
        counting: between them, times the errors that are counted: 1 where each makes errors of its own alone.
        suits: (languages,) of which setting suits which speakers of the search's half.
    """

    common: float
    counting: float
    suits: Array

    @classmethod
    def of(cls, baseline: Array, words: Array, speakers: Sequence[float]) -> Noise:
        """Return what baseline seeds and speakers say.

        Languages are pooled: a handful of seeds of one language measures its variance badly. The likelihood of normal
        rates is maximised, with scaled inverse chi-square priors (Gelman et al. 2013, 2.6).

        Args:
            baseline: (seeds, languages) rates.
            words: (languages,) reference words.
            speakers: of each language, by how many equally talkative ones its words are spoken: 1 / sum of the squared
                shares.
        """
        errors, freedom = _counted(baseline.mean(axis=0), words), len(baseline) - 1
        found = baseline.var(axis=0, ddof=1) / (errors / words) ** 2 if freedom else np.zeros(len(words))
        before = np.array([SEEDS**2, _COUNTING])

        def loss(logarithms: Array) -> float:
            common, counting = parts = np.exp(logarithms)
            variance = common + counting / errors
            seen = freedom * (np.log(variance) + found / variance).sum()
            return float(seen + _SEED_WEIGHT * (np.log(parts) + before / parts).sum()) / 2

        common, counting = np.exp(minimize(loss, np.log(before), method="L-BFGS-B").x)
        return cls(float(common), float(counting), SUITS**2 / np.asarray(speakers, float))

    def training(self, rates: Array, words: Array) -> Array:
        """Return the relative variance between trainings of one setting, of their rates (..., languages)."""
        variance: Array = self.common + self.counting / _counted(rates, words)
        return variance

    def with_suits(
        self, baseline: Sequence[Rates], trials: Sequence[Rates], words: Array, speakers: Sequence[float]
    ) -> Noise:
        """Return it with which setting suits which speakers as trials have shown, languages pooled by the speaker.

        A language with few errors says little of it, and counts little.

        What is each training's own on each utterance differs between the baseline's trainings too: it is taken off.
        With a single one it is not known, and what is assumed beforehand stays.

        Args:
            baseline: by language, rates (seeds,).
            trials: by language, rates (trials,) on the same speech, each of another setting.
            words: as of `of`.
            speakers: likewise.
        """
        if min(len(base.observed) for base in baseline) < 2:
            return self
        level = np.array([one.observed.mean() for one in baseline])
        people = np.asarray(speakers, float)
        found = np.array([max(_suits(*one), 0.0) for one in zip(baseline, trials, _LEAST_ERRORS / words, strict=True)])
        precision = (SUITS**2 + people * self.training(level, words)) ** -2
        return replace(self, suits=float(np.average(found * people, weights=precision)) / people)


@dataclass(frozen=True)
class World:
    """What stands before the first trial. Languages are in one order: the low-resource ones, then those with a limit.

    Attributes:
        low_resource: how many of the languages are.
        rules: of each language with a limit, in order.
        fixed: the rate that each is compared with, where that is not the baseline's; else NaN.
        words: (languages,) reference words of the search's half of dev.
        baseline: (seeds, languages) rates of the baseline.
        at: (axes,) the baseline's setting; NaN where it is none of the space.
        choices: (axes,) as of `raywce.surrogate.cube.Cube`.
        noise: of all rates.
        relative: whether the objective is the mean of the low-resource rates as shares of the baseline's.
    """

    low_resource: int
    rules: Sequence[Rule]
    fixed: Array
    words: Array
    baseline: Array
    at: Array
    choices: NDArray[np.int64]
    noise: Noise
    relative: bool = False

    @property
    def weights(self) -> Array:
        """What each low-resource rate is multiplied by in the objective, before their mean is taken."""
        return 1 / self.level[: self.low_resource] if self.relative else np.ones(self.low_resource)

    @property
    def level(self) -> Array:
        """The baseline's mean rates (languages,), above 0."""
        level: Array = np.maximum(self.baseline.mean(axis=0), _LEAST_ERRORS / self.words)
        return level


class Difference(NamedTuple):
    """A difference of rates, fractions: its mean and variance (..., languages)."""

    mean: Array
    variance: Array


@dataclass(frozen=True)
class SearchModel:
    """One Gaussian process for each language, of the logarithm of its rate.

    In logarithms noise is the same for good and bad rates. The baseline is one row, whatever the number of its seeds.
    """

    world: World
    processes: Sequence[Process]

    @classmethod
    def fit(
        cls, world: World, settings: Array, rates: Array, pending: Array | None = None, trainings: int = 1
    ) -> SearchModel:
        """Fit the processes.

        Args:
            world: what is known beforehand.
            settings: (n, axes) of the finished trials.
            rates: (n, languages) of them.
            pending: (m, axes) of the trials that run.
            trainings: of each setting, which its rates are the mean of.
        """
        noise, level = world.noise, world.baseline.mean(axis=0)
        x = np.vstack([world.at, settings]) if len(settings) else world.at[None]
        measured = np.vstack([level, *rates])
        y = logarithms(measured, world.words)
        counts = np.r_[len(world.baseline), np.full(len(x) - 1, trainings)]
        variance = noise.training(measured, world.words) / counts[:, None] + noise.suits
        whole = noise.training(level, world.words) + noise.suits
        processes = []
        for column in range(y.shape[1]):
            share = variance[:, column] / whole[column]
            process = Process.fit(x, y[:, column], share, float(whole[column]), world.choices)
            processes.append(process if pending is None else process.with_expected(pending))
        return cls(world, processes)

    def objective(self, z: Array) -> Difference:
        """Return the objective at settings (m, axes): (m,)."""
        found = [_rate(one.posterior(z)) for one in self.processes[: self.world.low_resource]]
        return _mean(found, self.world.weights)

    def excesses(self, z: Array) -> Difference:
        """Return by how much each rate is above its limit, and last the objective above the baseline's: (m, limits+1).

        The variances are those of the model, of the reference, and of the speakers of the search's half.
        """
        return self._excesses(self._at(z))

    def evidence(self, z: Array) -> Difference:
        """Return `excesses` as the trials show them, without what was believed before them: (m, limits + 1).

        A process draws each difference from the baseline towards none. For the one setting that is to be judged this
        is a bias, which makes its rises look smaller than they are. What is left is the likelihood of the trials. It
        counts two thirds, as a power prior (Ibrahim & Chen 2000): the processes are themselves fitted to these trials.
        """
        at, count = self._at(z), self.world.low_resource
        expected, more = self._excesses(at), [_without_prior(*one) for one in at]
        means, variances = zip(*more[count:], _mean(more[:count], self.world.weights), strict=True)
        variance = (expected.variance + np.stack(variances, axis=-1)) / _TRUST
        return Difference(expected.mean + np.stack(means, axis=-1), variance)

    def keeps(self, z: Array) -> Array:
        """Return how probably settings (m, axes) truly keep all limits and lower the objective: (m,).

        Languages are taken as independent.
        """
        mean, variance = self.excesses(z)
        probability: Array = norm.cdf(-mean / np.sqrt(variance)).prod(axis=-1)
        return probability

    def chance(self, z: Array, plan: Plan, with_model: bool) -> Array:
        """Return how probably a candidate at settings (m, axes) is confirmed: (m,). Languages are taken as independent.

        Args:
            z: the settings.
            plan: what will be measured.
            with_model: by both halves of dev; else by held-out speech alone.
        """
        expected = self.excesses(z)
        measured = self._of_confirm(plan)
        mean, after, share = expected.mean, measured, np.ones_like(measured)
        if with_model:
            of_search = self.evidence(z)
            after = np.where(self._paired, 1 / (1 / of_search.variance + 1 / measured), measured)
            share = after / measured  # of held-out speech in the evidence
            mean = (1 - share) * of_search.mean + share * mean
        moves = share * np.sqrt(expected.variance + measured)
        chance: Array = norm.cdf((-mean - plan.quantile * np.sqrt(after)) / moves).prod(axis=-1)
        return chance

    def gain_error(self, plan: Plan) -> float:
        """Return the standard error of the objective's difference from the baseline's, as the confirm phase has it."""
        return float(np.sqrt(self._of_confirm(plan)[-1]))

    def fits(self) -> NDArray[np.bool_]:
        """Return for each of `excesses` whether the model is evidence of it.

        It is where no trial is further off than noise from what the others let expect, and the limit is the baseline's
        on the same speech: how hard the search's half of dev is, which no other speech tells, is in both rates then.
        """
        off = [one.left_out()[1:] for one in self.processes]
        fits = np.array([bool((np.abs(of) < norm.isf(_UNLIKELY / (2 * len(of)))).all()) for of in off])
        count = self.world.low_resource
        out: NDArray[np.bool_] = np.r_[fits[count:], fits[:count].all()] & self._paired
        return out

    @property
    def _paired(self) -> NDArray[np.bool_]:
        """Whether each of `excesses` is a difference from the baseline."""
        paired: NDArray[np.bool_] = np.append(np.isnan(self.world.fixed), True)
        return paired

    def _at(self, z: Array) -> list[tuple[Posterior, Posterior]]:
        """Return by language what is known at settings, and at the baseline's."""
        return [(one.posterior(z), one.posterior(self.world.at[None])) for one in self.processes]

    def _excesses(self, at: Sequence[tuple[Posterior, Posterior]]) -> Difference:
        world, count = self.world, self.world.low_resource
        suits = world.noise.suits * world.level**2
        found = [_against(*one) for one in at[:count]]
        gains = [(mean, variance + of) for (mean, variance), of in zip(found, suits[:count], strict=True)]
        gain = _mean(gains, world.weights)
        limited = [
            _excess(rule, float(fixed), *one)
            for rule, fixed, one in zip(world.rules, world.fixed, at[count:], strict=True)
        ]
        means, variances = zip(*limited, gain, strict=True)
        variance = np.stack(variances, axis=-1)
        variance[..., :-1] += suits[count:]
        return Difference(np.stack(means, axis=-1), variance)

    def _of_confirm(self, plan: Plan) -> Array:
        """Return the variance of each of `excesses` as the confirm phase will measure it."""
        world, count = self.world, self.world.low_resource
        rate = world.level**2
        of_baseline = np.r_[np.ones(count), np.isnan(world.fixed)]
        training = world.noise.training(world.level, world.words / plan.speech)
        seeds = training * (1 / plan.seeds + of_baseline / plan.baseline_seeds)
        variance = rate * (seeds + 2 * plan.speech * world.noise.suits)
        out: Array = np.r_[variance[count:], (variance[:count] * world.weights**2).sum() / count**2]
        return out


def _suits(baseline: Rates, trials: Rates, least: float) -> float:
    """Return the relative variance, over other speech, of one setting's rate beside that of all settings.

    That of the logarithm of their quotient, by its derivatives: where errors are few, some resampled speech has none.
    """
    level, levels = max(float(baseline.observed.mean()), least), np.maximum(trials.observed, least)
    own = float(own_variance([baseline])) / level**2
    between = max(
        float((trial.rates / levels[:, None] - base.rates.mean(axis=-2) / level).var(axis=-1).mean())
        for trial, base in zip(trials.ways, baseline.ways, strict=True)
    )
    return (between - own * (1 + 1 / len(baseline.observed))) / 2  # a trial's and the baseline's own are in it


def _counted(rates: Array, words: Array) -> Array:
    """Return the errors of rates (..., languages), half of one at least."""
    errors: Array = np.maximum(rates * words, _LEAST_ERRORS)
    return errors


def logarithms(rates: Array, words: Array) -> Array:
    """Return the logarithms of rates (n, languages), half an error added to each."""
    out: Array = np.log((rates * words + _LEAST_ERRORS) / words)
    return out


def _rate(found: Posterior) -> tuple[Array, Array]:
    """Return mean and variance of a rate, of those of its logarithm."""
    rate = np.exp(found.mean)
    return rate, rate**2 * found.variance


def _mean(found: Sequence[tuple[Array, Array]], weights: Array) -> Difference:
    """Return mean and variance of the mean of independent figures (...), each times its weight."""
    means, variances = (np.stack(one, axis=-1) for one in zip(*found, strict=True))
    return Difference((means * weights).mean(axis=-1), (variances * weights**2).sum(axis=-1) / len(found) ** 2)


def _against(found: Posterior, reference: Posterior, slope: Array | float = 1.0) -> tuple[Array, Array]:
    """Return mean and variance of a rate less the reference's, times a slope."""
    rate, base = np.exp(found.mean), np.exp(reference.mean)
    variance = rate**2 * found.variance + (slope * base) ** 2 * reference.variance
    variance -= 2 * rate * slope * base * found.shared
    return rate - slope * base, np.maximum(variance, 1e-10)


def _without_prior(found: Posterior, reference: Posterior) -> Difference:
    """Return what mean and variance of a rate less the reference's grow by without the prior of their logarithms.

    By the precisions: that of the posterior is that of the prior, whose mean is 0, and that of the measurements.
    """
    difference = found.mean - reference.mean
    variance = np.maximum(found.variance + reference.variance - 2 * found.shared, _TINY)
    measured = np.maximum(1 - variance / np.maximum(found.prior, _TINY), _LEAST_MEASURED)
    rate = np.exp(found.mean)
    return Difference(rate * difference * (1 / measured - 1), rate**2 * variance * (1 / measured - 1))


def _excess(rule: Rule, fixed: float, found: Posterior, reference: Posterior) -> tuple[Array, Array]:
    if np.isnan(fixed):
        base = np.exp(reference.mean)
        slope = np.where(rule.tolerance * base > rule.floor, 1 + rule.tolerance, 1.0)
        _, variance = _against(found, reference, slope)
        return np.exp(found.mean) - base - rule.allowed_rise(base), variance
    rate, variance = _rate(found)
    return rule.excess(rate, fixed), variance
