"""What can be said of a WER, or of a difference of WERs, beyond the speech and the seeds that it was measured with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from raywce.evaluation.bootstrap import resampled_rates

Array = NDArray[np.float64]
Counts = NDArray[np.integer]
# Of one rate for each model compared, all of one shape.
Statistic = Callable[..., Array]

ENOUGH_SPEAKERS = 20  # below it, the wider of the speaker and the utterance interval
FEWEST_SPEAKERS = 5  # below it, nothing is claimed about new speakers
_COMPARED_AT = 0.975


@dataclass(frozen=True)
class Estimate:
    """A figure, or an array of them, with what is known of its error: Student's t with these degrees of freedom."""

    value: Array
    standard_error: Array
    degrees_of_freedom: Array

    def interval(self, confidence: float) -> tuple[Array, Array]:
        """The two-sided interval, such as with 0.95."""
        margin = self._margin((1 + confidence) / 2)
        return self.value - margin, self.value + margin

    def upper(self, confidence: float) -> Array:
        """The one-sided bound that the true value is below, with that confidence."""
        bound: Array = self.value + self._margin(confidence)
        return bound

    def p_value(self) -> Array:
        """One-sided p of the hypothesis that the true value is not below 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = self.value / self.standard_error
        p: Array = stats.t.cdf(t, self.degrees_of_freedom)
        # Without any variance, the sign is all there is: on the boundary itself nothing is shown.
        certain: Array = np.where(self.value < 0, 0.0, 1.0)
        return np.where(self.standard_error > 0, p, certain)

    def _margin(self, quantile: float) -> Array:
        margin: Array = stats.t.ppf(quantile, self.degrees_of_freedom) * self.standard_error
        return np.where(self.standard_error > 0, margin, 0.0)


@dataclass(frozen=True)
class Measurement:
    """A statistic of WERs over n seeds, and its variance over other speech; leading axes are other models' or trials'.

    Attributes:
        value: (...) the statistic of the WERs' means over the seeds.
        by_seed: (..., n) the statistic of each seed.
        speech_variance: (...) of `value`, over other utterances or speakers.
        interaction: (...) the part of it that is each seed's own, and so is in the spread of `by_seed` too.
        speech_df: (...) its degrees of freedom.
    """

    value: Array
    by_seed: Array
    speech_variance: Array
    interaction: Array
    speech_df: Array

    def estimate(self) -> Estimate:
        """Both variances joined, with Satterthwaite's degrees of freedom.

        With one seed nothing is known of the seeds' variance, and only the speech's is in it.
        """
        seeds = self.by_seed.shape[-1]
        of_seeds = np.zeros_like(self.value)
        if seeds > 1:
            of_seeds = np.maximum(self.by_seed.var(axis=-1, ddof=1) / seeds - self.interaction, 0)
        variance = self.speech_variance + of_seeds
        squares = self.speech_variance**2 / self.speech_df + of_seeds**2 / max(seeds - 1, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            df = np.where(squares > 0, variance**2 / squares, np.inf)
        return Estimate(self.value, np.sqrt(variance), df)


def mean(measurements: Sequence[Measurement]) -> Measurement:
    """The mean over languages, whose speech is independent and whose seeds are the same."""
    count = len(measurements)

    def total(name: str) -> Array:
        return reduce(np.add, (getattr(one, name) for one in measurements))

    variance = total("speech_variance")
    squares = reduce(np.add, (one.speech_variance**2 / one.speech_df for one in measurements))
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(squares > 0, variance**2 / squares, np.inf)
    return Measurement(
        total("value") / count, total("by_seed") / count, variance / count**2, total("interaction") / count**2, df
    )


@dataclass(frozen=True)
class Speech:
    """The utterances of one language that several models decoded.

    Attributes:
        words: (utterances,) reference words.
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
        """How many different ones are known."""
        return len(set(self.speakers) - {None})

    @property
    def claims_new_speakers(self) -> bool:
        """Whether an interval says something about people who are not in it."""
        return self.known_speakers >= FEWEST_SPEAKERS

    def measure(self, statistic: Statistic, *errors: Counts) -> Measurement:
        """A statistic of some models' WERs on this speech.

        Args:
            statistic: of a rate for each of `errors`.
            errors: for each model (..., n, utterances) word errors by seed, paired by seed; n is 1 where a model has
                no seeds. Leading axes are broadcast.
        """
        words = self.words.sum()
        rates = [one.sum(axis=-1) / words for one in errors]
        value = np.asarray(statistic(*(rate.mean(axis=-1) for rate in rates)))
        by_seed = np.asarray(statistic(*rates))

        def over(groups: Counts | None, count: int) -> Measurement:
            drawn = [
                resampled_rates(one, self.words, groups, resamples=self.resamples, seed=self.seed) for one in errors
            ]
            together = statistic(*(rate.mean(axis=-2) for rate in drawn))
            alone = statistic(*drawn)
            mends = count / (count - 1) if count > 1 else 1.0  # resampling understates a variance by 1 / count
            seeds = by_seed.shape[-1]
            own = (alone - together[..., None, :]).var(axis=-1).sum(axis=-1) / max(seeds - 1, 1) / seeds
            variance = together.var(axis=-1) * mends
            df = np.full(value.shape, max(count - 1, 1), float)
            return Measurement(value, by_seed, variance, own * mends, df)

        by_utterance = over(None, len(self.words))
        if not self.claims_new_speakers:
            return by_utterance
        groups = self._groups()
        by_speaker = over(groups, len(np.unique(groups)))
        return by_speaker if self.known_speakers >= ENOUGH_SPEAKERS else _wider(by_speaker, by_utterance)

    def _groups(self) -> NDArray[np.int64]:
        """A number for each utterance's speaker; an unknown one is each time another."""
        names = [
            (f"unknown {index}" if name is None else f"speaker {name}") for index, name in enumerate(self.speakers)
        ]
        return np.unique(names, return_inverse=True)[1]


def _wider(one: Measurement, other: Measurement) -> Measurement:
    """Element by element the one whose interval over other speech is wider."""

    def width(measurement: Measurement) -> Array:
        quantile: Array = stats.t.ppf(_COMPARED_AT, measurement.speech_df)
        squared: Array = measurement.speech_variance * quantile**2
        return squared

    first = width(one) >= width(other)

    def chosen(name: str) -> Array:
        of: Array = np.where(first, getattr(one, name), getattr(other, name))
        return of

    names = ("speech_variance", "interaction", "speech_df")
    return Measurement(one.value, one.by_seed, *(chosen(name) for name in names))


def holm(p_values: Array) -> Array:
    """p adjusted over the last axis: one false claim or more has at most the level's probability (Holm 1979)."""
    count = p_values.shape[-1]
    order = np.argsort(p_values, axis=-1)
    ordered = np.take_along_axis(p_values, order, axis=-1) * np.arange(count, 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(ordered, axis=-1), 1.0)
    out = np.empty_like(adjusted)
    np.put_along_axis(out, order, adjusted, axis=-1)
    return out
