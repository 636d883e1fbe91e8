"""What a confirm phase can show, before anything is trained: by how much speech, how many seeds, and which limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t

from raywce.selection.limits import Rule

SEEDS, SUITS = 0.03, 0.10
"""Relative standard deviations: of a rate between trainings of one setting, and of how a setting suits a speaker."""

_OWN = 0.7  # relative variance of one utterance's errors between two trainings, beside that of their number
_UNEVEN = 1.2  # by which speakers count as fewer, as those with more errors weigh more
_WANTED, _SURE = 0.8, 0.9


@dataclass(frozen=True)
class HeldOut:
    """The part of one language's dev that only the confirm phase decodes.

    Attributes:
        utterances: how many.
        words: of the references; characters where the rate is a CER.
        speakers: how many equally talkative ones would say as much; utterances where too few speakers are known.
        rate: the baseline's WER or CER, a fraction, as measured or assumed.
        claims_new_speakers: whether it says anything about other people.
    """

    utterances: int
    words: int
    speakers: float
    rate: float
    claims_new_speakers: bool = True

    @property
    def level(self) -> float:
        """Return the rate, that of one error at least."""
        return max(self.rate, 1 / self.words)

    def variances(self, *seeds: int) -> tuple[float, float]:
        """Return the variance of a difference of rates: over other speech, and over other seeds.

        Args:
            seeds: of each of the two settings.
        """
        rate, trainings = self.level, sum(1 / of for of in seeds)
        own = (_OWN / self.utterances + 1 / (rate * self.words)) * trainings
        return rate**2 * (2 * SUITS**2 * _UNEVEN / self.speakers + own), rate**2 * SEEDS**2 * trainings


@dataclass(frozen=True)
class Power:
    """The power of a confirm phase, by held-out speech alone.

    Attributes:
        gain: points by which a setting has to lower what is minimised truly, raising no other language, to be confirmed
            in 8 of 10 searches; None where no gain is enough.
        chances: of being confirmed, by points that a setting truly lowers.
        resolved: by language with a limit, points that are shown to be kept in 9 of 10 searches by a setting that
            changes nothing.
        limits: points that are allowed.
        no_claim_on_new_speakers: languages with too few of them to say anything about other people.
        measured: whether the rates are a baseline's.
    """

    gain: float | None
    chances: Mapping[float, float]
    resolved: Mapping[str, float]
    limits: Mapping[str, float]
    no_claim_on_new_speakers: Sequence[str] = ()
    measured: bool = False

    @property
    def too_narrow(self) -> list[str]:
        """The languages whose limits lie below what the speech resolves."""
        return [name for name, points in self.limits.items() if points < self.resolved[name]]


def power(
    low_resource: Sequence[HeldOut],
    limited: Mapping[str, HeldOut],
    rules: Mapping[str, Rule],
    seeds: Sequence[int],
    confidence: float,
    gains: Sequence[float] = (1.0, 2.0, 5.0),
    relative: bool = False,
) -> Power:
    """Return what can be confirmed.

    Args:
        low_resource: the languages whose mean rate is minimised.
        limited: the languages with a limit.
        rules: their limits.
        seeds: of the baseline and of each candidate: they measure together how much trainings differ.
        confidence: of the finding.
        gains: points to state the chance for.
        relative: whether the low-resource rates count as shares of the baseline's.
    """
    of_seeds = float(t.ppf(confidence, sum(seeds) - len(seeds)))

    def errors(of: Sequence[HeldOut], shares: bool = False) -> tuple[float, float]:
        """Return the standard error of the mean over languages, and by how much a bound lies above its estimate."""
        found = [np.divide(one.variances(*seeds[:2]), one.level**2 if shares else 1.0) for one in of]
        speech, trainings = np.sum(found, axis=0) / len(of) ** 2
        whole = speech + trainings
        of_speech = float(t.ppf(confidence, max(1.0, sum(one.speakers - 1 for one in of))))
        quantile = (trainings * of_seeds + speech * of_speech) / whole
        return float(np.sqrt(whole)), float(quantile * np.sqrt(whole))

    limits = {name: float(rules[name].allowed_rise(one.rate)) for name, one in limited.items()}
    found = {name: errors([one]) for name, one in limited.items()}
    keeps = float(np.prod([norm.cdf((limits[name] - beyond) / error) for name, (error, beyond) in found.items()]))
    error, beyond = errors(low_resource, relative)

    def chance(gain: float) -> float:
        return keeps * float(norm.cdf((gain - beyond) / error))

    most = 1.0 if relative else float(np.mean([one.rate for one in low_resource]))
    gain = 100 * brentq(lambda gain: chance(gain) - _WANTED, 0, most) if chance(most) > _WANTED else None
    return Power(
        gain=gain,
        chances={points: chance(points / 100) for points in gains},
        resolved={name: 100 * (of[1] + norm.ppf(_SURE) * of[0]) for name, of in found.items()},
        limits={name: 100 * limit for name, limit in limits.items()},
    )
