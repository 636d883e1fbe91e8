"""Settings compared over several trainings each, on the same speech: estimates beyond that speech and those seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np

from raywce.evaluation.confidence import Array, Estimate, Rates, SpeechEstimate, Statistic, over_speech

_BY_CHANCE = 2.0  # standard deviations that a rate may be low


@dataclass(frozen=True)
class Arms:
    """Models side by side: each arm is a setting, with the rates of its trainings.

    How much trainings of one setting differ is taken to be the same share of the rate in all arms, so that each arm
    helps to measure it: a handful of seeds by itself measures it badly.

    Attributes:
        languages: for each language, rates (..., trainings) by arm. Of several languages the mean rate counts: their
            speech is independent, their trainings are the same.
        fixed: so many of the first arms are no trainings: another seed would not change them.
    """

    languages: Sequence[Sequence[Rates]]
    fixed: int = 0

    def estimate(self, statistic: Statistic, *arms: int) -> Estimate:
        """Estimate a statistic of these arms' mean rates, a number for each."""
        of_speech = _mean([over_speech(statistic, *(of[arm] for arm in arms)) for of in self.languages])
        means = [self._means[arm] for arm in arms]
        of_seeds = np.zeros(np.shape(of_speech.value))
        for place, arm in enumerate(arms):
            deviation = self._deviation(arm)
            ends = [
                statistic(*means[:place], means[place] + way, *means[place + 1 :]) for way in (deviation, -deviation)
            ]
            of_seeds = of_seeds + ((ends[0] - ends[1]) / 2) ** 2
        return Estimate(of_speech.value, of_speech.variance, of_speech.df, of_seeds, self.seed_df)

    @property
    def seed_df(self) -> int:
        """Degrees of freedom of the variance between trainings; 0 where no arm has two."""
        return sum(count - 1 for count in self._counts[self.fixed :])

    @cached_property
    def seed_variance(self) -> Array:
        """Variance between trainings of one setting (...), as a share of its squared rate.

        What is each training's own on each utterance is in the variance over other speech too, so it is taken off.
        """
        if not self.seed_df:
            return np.zeros(self._observed[0].shape[:-1])
        trained = range(self.fixed, len(self._counts))
        own = [own_variance([of[arm] for of in self.languages]) for arm in trained]
        squares = [self._observed[arm].var(axis=-1) * self._counts[arm] for arm in trained]
        total = sum(
            _share(square - (self._counts[arm] - 1) * noise, self._means[arm] ** 2)
            for arm, square, noise in zip(trained, squares, own, strict=True)
        )
        return np.maximum(np.asarray(total) / self.seed_df, 0.0)

    @cached_property
    def _observed(self) -> list[Array]:
        """Mean rates over the languages (..., trainings), by arm."""
        return [np.mean([one.observed for one in of], axis=0) for of in zip(*self.languages, strict=True)]

    @cached_property
    def _means(self) -> list[Array]:
        return [observed.mean(axis=-1) for observed in self._observed]

    @cached_property
    def _counts(self) -> list[int]:
        return [observed.shape[-1] for observed in self._observed]

    def _deviation(self, arm: int) -> Array:
        """Return the standard deviation of an arm's mean rate over other seeds."""
        if arm < self.fixed:
            return np.zeros(self._means[arm].shape)
        deviation: Array = self._means[arm] * np.sqrt(self.seed_variance / self._counts[arm])
        return deviation


@dataclass(frozen=True)
class Averages:
    """Averages of the weights of several trainings side by side: each arm is one model.

    How much other trainings would change it, the jackknife says (Efron & Tibshirani 1993, 11): the average is made
    again without each of its trainings.

    Attributes:
        languages: for each language, rates (..., 1) by arm. Of several languages the mean rate counts.
        left_out: likewise the rates (..., trainings) of the averages without one each; (..., 0) of an arm that is no
            average.
    """

    languages: Sequence[Sequence[Rates]]
    left_out: Sequence[Sequence[Rates]]

    def estimate(self, statistic: Statistic, *arms: int) -> Estimate:
        """Estimate a statistic of these arms' rates, a number for each."""
        of_speech = _mean([over_speech(statistic, *(of[arm] for arm in arms)) for of in self.languages])
        rates = [np.mean([of[arm].observed for of in self.languages], axis=0) for arm in arms]
        of_seeds, df = np.zeros(np.shape(of_speech.value)), 0
        for place, arm in enumerate(arms):
            without = np.mean([of[arm].observed for of in self.left_out], axis=0)
            count = without.shape[-1]
            if count:
                found = statistic(*rates[:place], without, *rates[place + 1 :])
                of_seeds = of_seeds + (count - 1) * found.var(axis=-1)
                df += count - 1
        return Estimate(of_speech.value, of_speech.variance, of_speech.df, of_seeds, df)


def at_the_limit(arms: Arms | Averages, above: Statistic, model: int, *others: int) -> Estimate:
    """Estimate by how much one model's rate is above a limit, with the variances that it would have on the limit.

    A rate that is low by chance seems to vary less too, which makes chance look sure. So for the variances the rate is
    scaled until it is on the limit, as a score test does (Agresti 2013, 1.3.3); but not further than chance may have
    lowered it: of few errors, a rate that is scaled to a limit far above it would vary by more than the limit allows.

    Args:
        arms: the models.
        above: of the model's rate and the others'.
        model: whose rate is tested.
        others: that the limit is made of.
    """
    value, alone = arms.estimate(above, model, *others).value, arms.estimate(lambda rate: rate, model)
    furthest = 1 + _BY_CHANCE * _share(alone.standard_error, alone.value)
    share = np.minimum(1 - _share(value, alone.value), furthest)
    found = arms.estimate(lambda rate, *limit: above(_like(share, rate) * rate, *limit), model, *others)
    return replace(found, value=value)


def own_variance(languages: Sequence[Rates]) -> Array:
    """Return what is each training's own on each utterance: its variance (...) over other speech, for one training.

    Args:
        languages: rates (..., trainings) of one setting by language, whose mean counts.
    """

    def of(rates: Rates) -> Array:
        count = rates.observed.shape[-1]
        off = [way.rates - way.rates.mean(axis=-2, keepdims=True) for way in rates.ways]
        # Of two ways of resampling, the one that takes off less.
        variance: Array = np.min([one.var(axis=-1).sum(axis=-1) for one in off], axis=0) / max(count - 1, 1)
        return variance

    total: Array = reduce(np.add, map(of, languages)) / len(languages) ** 2
    return total


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def _like(figure: Array, other: Array) -> Array:
    """Return a figure for each of the other's leading elements."""
    return figure.reshape(figure.shape + (1,) * (np.ndim(other) - figure.ndim))


def _mean(found: Sequence[SpeechEstimate]) -> SpeechEstimate:
    """Return the mean over languages, whose speech is independent."""
    count = len(found)
    value = reduce(np.add, [one.value for one in found]) / count
    variance = reduce(np.add, [one.variance for one in found])
    # Satterthwaite's: the languages' degrees of freedom are many and alike.
    squares = reduce(np.add, [one.variance**2 / one.df for one in found])
    df = np.divide(variance**2, squares, out=np.ones(np.shape(value)), where=squares > 0)
    return SpeechEstimate(value, variance / count**2, df)
