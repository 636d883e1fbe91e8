"""Confidence in an error rate, or in a difference of two, beyond the speech and the seeds that it was measured with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from raywce.evaluation.bootstrap import resampled_rates

Array = NDArray[np.float64]
Counts = NDArray[np.integer]
# Of one rate for each model compared, all of one shape.
Statistic = Callable[..., Array]

ENOUGH_SPEAKERS = 20  # below it, the wider of the speaker and the utterance interval
FEWEST_SPEAKERS = 5  # below it, nothing is claimed about new speakers
_COMPARED_AT = 0.975
_HALVINGS = 50


@dataclass(frozen=True)
class Estimate:
    """A figure, or an array of them, with its variance over other speech and over other seeds.

    The two have different degrees of freedom, as a handful of seeds stands beside hundreds of utterances. Quantiles
    are Student's of either, weighted by the variances (Cochran & Cox 1957, 4.14), which errs on the side of caution;
    Satterthwaite's degrees of freedom let through more than a level allows with three seeds.
    """

    value: Array
    speech_variance: Array
    speech_df: Array
    seed_variance: Array
    seed_df: int

    @classmethod
    def stacked(cls, estimates: Sequence[Estimate]) -> Estimate:
        """Return estimates as one, a row for each; the degrees of freedom of the seeds are the fewest."""

        def column(name: str) -> Array:
            return np.stack([np.asarray(getattr(one, name)) for one in estimates])

        return cls(
            column("value"),
            column("speech_variance"),
            column("speech_df"),
            column("seed_variance"),
            min(one.seed_df for one in estimates),
        )

    @property
    def standard_error(self) -> Array:
        """Return the standard error of both together."""
        root: Array = np.sqrt(self.speech_variance + self.seed_variance)
        return root

    def interval(self, confidence: float) -> tuple[Array, Array]:
        """Return the two-sided interval of a confidence such as 0.95."""
        margin = self._margin((1 + confidence) / 2)
        return self.value - margin, self.value + margin

    def upper(self, confidence: float) -> Array:
        """Return the one-sided bound that the true value is below, with that confidence."""
        bound: Array = self.value + self._margin(confidence)
        return bound

    def p_value(self) -> Array:
        """Return the one-sided p of the hypothesis that the true value is not below 0: where `upper(1 - p)` is 0."""
        low, high = np.zeros(np.shape(self.value)), np.ones(np.shape(self.value))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            is_below = self.value + self._margin(1 - middle) < 0  # then p is smaller than the middle
            low, high = np.where(is_below, low, middle), np.where(is_below, middle, high)
        # Without any variance, the sign is all there is: on the boundary itself nothing is shown.
        certain = np.where(self.value < 0, 0.0, 1.0)
        p: Array = np.where(self.standard_error > 0, high, certain)
        # A set of speech that was drawn may have had no words.
        return np.where(np.isnan(self.standard_error), 1.0, p)

    def _margin(self, quantile: float | Array) -> Array:
        variance = self.speech_variance + self.seed_variance
        share = np.divide(self.seed_variance, variance, out=np.zeros(np.shape(variance)), where=variance > 0)
        # Where there is one seed, or one utterance, that side has no variance and no quantile either.
        of_seeds = special.stdtrit(max(self.seed_df, 1), quantile)
        of_speech = special.stdtrit(self.speech_df, quantile)
        margin: Array = np.sqrt(variance) * (share * of_seeds + (1 - share) * of_speech)
        return np.where(variance > 0, margin, 0.0)


@dataclass(frozen=True)
class SpeechEstimate:
    """A statistic of rates, and its variance over other utterances or speakers, with the degrees of freedom: (...)."""

    value: Array
    variance: Array
    df: Array


@dataclass(frozen=True)
class Resampled:
    """Rates (..., resamples) of resampled speech, and how many utterances or speakers were drawn."""

    rates: Array
    count: int


@dataclass(frozen=True)
class Rates:
    """Error rates of models on the same speech.

    Attributes:
        observed: (...) by model.
        ways: the same of resampled speech: by utterance, by speaker, or both, of which the wider counts.
    """

    observed: Array
    ways: Sequence[Resampled]

    def __getitem__(self, models: int | slice | Counts | None) -> Rates:
        return Rates(self.observed[models], [Resampled(way.rates[models], way.count) for way in self.ways])

    def relative_to(self, baseline: Rates, least: float) -> Rates:
        """Return the rates as shares of the mean over another setting's trainings, resample by resample.

        Args:
            baseline: (..., trainings), resampled alike.
            least: what a mean of 0 is taken to be.
        """

        def shares(rates: Array, of: Array, axis: int) -> Array:
            found: Array = rates / np.maximum(of.mean(axis=axis, keepdims=True), least)
            return found

        ways = [
            Resampled(shares(own.rates, of.rates, -2), own.count)
            for own, of in zip(self.ways, baseline.ways, strict=True)
        ]
        return Rates(shares(self.observed, baseline.observed, -1), ways)


def over_speech(statistic: Statistic, *rates: Rates) -> SpeechEstimate:
    """Estimate a statistic of the mean rates of some settings, over other speech alone.

    Args:
        statistic: of a rate for each of `rates`.
        rates: on the same speech, (..., trainings). Leading axes are broadcast.
    """
    value = np.asarray(statistic(*(one.observed.mean(axis=-1) for one in rates)))

    def of(ways: Sequence[Resampled]) -> SpeechEstimate:
        together, count = statistic(*(way.rates.mean(axis=-2) for way in ways)), ways[0].count
        correction = count / (count - 1) if count > 1 else 1.0  # resampling understates a variance by 1 / count
        df = np.full(value.shape, max(count - 1, 1), float)
        return SpeechEstimate(value, together.var(axis=-1) * correction, df)

    return reduce(_wider, (of(ways) for ways in zip(*(one.ways for one in rates), strict=True)))


@dataclass(frozen=True)
class Speech:
    """The utterances of one language that several models decoded.

    Attributes:
        words: (utterances,) words, or characters, of the references.
        speakers: of each utterance; None where unknown.
        resamples: of the bootstrap.
        seed: of the bootstrap's draws.
    """

    words: NDArray[np.int64]
    speakers: Sequence[str | None]
    resamples: int = 10_000
    seed: int = 0

    @property
    def known_speakers(self) -> int:
        """Return the number of different known speakers."""
        return len(set(self.speakers) - {None})

    @property
    def claims_new_speakers(self) -> bool:
        """Return whether an interval says something about people who are not in it."""
        return self.known_speakers >= FEWEST_SPEAKERS

    @property
    def half_an_error(self) -> float:
        """Return the rate of half an error: less than any that can be measured, but 0."""
        return 0.5 / max(int(self.words.sum()), 1)

    @property
    def talkative_speakers(self) -> float:
        """Return by how many equally talkative speakers the words are spoken: 1 / sum of the squared shares.

        Where nothing is claimed about new speakers, utterances take their place, as in `rates`.
        """
        groups = self._groups() if self.claims_new_speakers else np.arange(len(self.words))
        share = np.bincount(groups, self.words) / max(self.words.sum(), 1)
        return 1 / max(float((share**2).sum()), 1 / len(groups))

    def rates(self, errors: Counts) -> Rates:
        """Return the rates of models with those errors (..., utterances), as they are and of resampled speech."""

        def drawn(groups: Counts | None, count: int) -> Resampled:
            rates = resampled_rates(errors, self.words, groups, resamples=self.resamples, seed=self.seed)
            return Resampled(rates, count)

        ways = []
        if self.known_speakers < ENOUGH_SPEAKERS:
            ways.append(drawn(None, len(self.words)))
        if self.claims_new_speakers:
            groups = self._groups()
            ways.append(drawn(groups, len(np.unique(groups))))
        return Rates(errors.sum(axis=-1) / self.words.sum(), ways)

    def _groups(self) -> NDArray[np.int64]:
        """Return a number for each utterance's speaker; an unknown one is each time another."""
        names = [
            (f"unknown {index}" if name is None else f"speaker {name}") for index, name in enumerate(self.speakers)
        ]
        return np.unique(names, return_inverse=True)[1]


def _wider(one: SpeechEstimate, other: SpeechEstimate) -> SpeechEstimate:
    """Return, element by element, the one whose interval over other speech is wider."""

    def width(found: SpeechEstimate) -> Array:
        quantile: Array = stats.t.ppf(_COMPARED_AT, found.df)
        squared: Array = found.variance * quantile**2
        return squared

    first = width(one) >= width(other)
    return SpeechEstimate(one.value, np.where(first, one.variance, other.variance), np.where(first, one.df, other.df))
