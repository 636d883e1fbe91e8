"""Original, baseline and candidates side by side on the same speech: WERs, differences and claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import sub

import numpy as np
import pyarrow as pa

from raywce.evaluation.confidence import Measurement, Rates, Speech, mean, measure
from raywce.evaluation.paired import paired_errors
from raywce.evaluation.rates import rates_by_language
from raywce.evaluation.utterances import is_stopped
from raywce.experiment.schema import Experiment
from raywce.selection.claims import NONE, claims
from raywce.selection.limits import Rule, worst
from raywce.selection.runaways import runaway_notes
from raywce.selection.trials import BASELINE, ORIGINAL
from raywce.valid_json import Number

Languages = Mapping[str, "Interval"]


@dataclass(frozen=True)
class Interval:
    """A WER or a difference of WERs, as a fraction, with its two-sided interval."""

    value: Number
    low: Number
    high: Number


@dataclass(frozen=True)
class Decoded:
    """Texts that were decoded of one set of utterances: tables of `raywce.evaluation.utterances.SCHEMA`.

    Attributes:
        original: by the model before fine-tuning.
        baseline: by the baseline of each seed.
        candidates: by name, of each seed; the same seeds as the baseline's, in the same order.
    """

    original: pa.Table
    baseline: Sequence[pa.Table]
    candidates: Mapping[str, Sequence[pa.Table]]

    @property
    def tables(self) -> list[pa.Table]:
        """All of them: the original, the baseline's seeds, each candidate's seeds."""
        return [table for _, table in self.named]

    @property
    def named(self) -> list[tuple[str, pa.Table]]:
        """All of them in the same order, each with the name of its model."""
        models = [(ORIGINAL, [self.original]), (BASELINE, self.baseline), *self.candidates.items()]
        return [(name, table) for name, tables in models for table in tables]


@dataclass(frozen=True)
class ModelFigures:
    """One model's figures by language, means over its seeds; no differences for what others are compared with.

    Attributes:
        low_resource_gain: mean low-resource WER minus the baseline's; None too where one was not decoded.
        language_identification: share of utterances whose language is recognised; empty where not measured.
    """

    wer: Languages
    against_original: Languages | None
    against_baseline: Languages | None
    low_resource_gain: Interval | None
    language_identification: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """The figures of one set of utterances.

    Attributes:
        label: of the rate, such as `capped WER`.
        notes: where the plain rate is well above the capped one, and by which utterances.
        speakers: how many of each language are known.
        no_claim_on_new_speakers: languages with too few of them to say anything about other people.
        watched: languages that the models were not trained on.
    """

    confidence: float
    seeds: int
    original: ModelFigures
    baseline: ModelFigures
    candidates: Mapping[str, ModelFigures]
    speakers: Mapping[str, int]
    no_claim_on_new_speakers: Sequence[str]
    label: str = "WER"
    notes: Sequence[str] = ()
    watched: Sequence[str] = ()


@dataclass(frozen=True)
class Claim:
    """The claims on one candidate.

    Attributes:
        bounds: points of WER by language with a limit, which its violation is below with the wanted confidence;
            <= 0 holds.
        p_breaks_a_limit: adjusted for the number of candidates.
        p_not_better: of "it breaks a limit or is not better than the baseline", adjusted likewise.
    """

    bounds: Mapping[str, Number]
    p_breaks_a_limit: Number
    p_not_better: Number
    keeps_limits: bool
    better: bool

    @property
    def worst(self) -> tuple[str, float] | None:
        """The language whose bound is the highest, and the points."""
        return worst(self.bounds)


@dataclass(frozen=True)
class Choice:
    """The winner by rule: the lowest low-resource WER among those whose limits hold with confidence."""

    winner: str | None
    claims: Mapping[str, Claim]

    @property
    def nearest(self) -> str | None:
        """The candidate whose highest bound is the lowest; None without candidates."""
        worst = {name: claim.worst[1] if claim.worst else 0.0 for name, claim in self.claims.items()}
        return min(worst, key=worst.__getitem__, default=None)

    @property
    def shown(self) -> str | None:
        """The winner; without one, the candidate that is nearest to keeping its limits."""
        return self.winner or self.nearest


def side_by_side(decoded: Decoded, experiment: Experiment) -> dict[str, Side]:
    """Return each language that was decoded, its speech resampled once for all that is said of it."""
    present = set(decoded.original["language"].to_pylist())
    return {name: Side(decoded, name, experiment) for name in experiment.languages.decoded if name in present}


def compare(decoded: Decoded, sides: Mapping[str, Side], experiment: Experiment) -> Comparison:
    """Return WERs and differences with intervals, utterance and seed variance joined."""
    confidence, low_resource = experiment.search.confirm.confidence, experiment.languages.low_resource

    def setting(index: int) -> ModelFigures:
        """Return a model's figures; 0 is the original, 1 the baseline."""
        over = [{name: side.difference(index, other) for name, side in sides.items()} for other in range(min(index, 2))]
        differences = [{name: _interval(one, confidence) for name, one in of.items()} for of in over]
        has_gain = len(over) > 1 and sides.keys() >= set(low_resource)
        gain = mean([over[1][language] for language in low_resource]) if has_gain else None
        return ModelFigures(
            wer={name: _interval(side.wer(index), confidence) for name, side in sides.items()},
            against_original=differences[0] if index > 0 else None,
            against_baseline=differences[1] if index > 1 else None,
            low_resource_gain=_interval(gain, confidence) if gain else None,
            language_identification=_identification(decoded, index),
        )

    candidates = {name: setting(2 + number) for number, name in enumerate(decoded.candidates)}
    return Comparison(
        confidence=confidence,
        seeds=len(decoded.baseline),
        original=setting(0),
        baseline=setting(1),
        candidates=candidates,
        speakers={language: side.speech.known_speakers for language, side in sides.items()},
        no_claim_on_new_speakers=[name for name, side in sides.items() if not side.speech.claims_new_speakers],
        label=_label(decoded, experiment),
        notes=runaway_notes(decoded.named, experiment.metric),
        watched=[name for name in experiment.languages.watched if name in sides],
    )


def choose(decoded: Decoded, sides: Mapping[str, Side], experiment: Experiment) -> Choice:
    """Return the winner among the candidates, and what may be claimed of each."""
    confidence = experiment.search.confirm.confidence
    names = list(decoded.candidates)
    if not names:
        return Choice(winner=None, claims={})
    excesses = {language: sides[language].excess() for language in experiment.limited_languages}
    low = [sides[language] for language in experiment.languages.low_resource]
    gain = mean([side.gain() for side in low])
    wer = np.mean([side.candidates.observed.mean(axis=-1) for side in low], axis=0)
    found = claims(list(excesses.values()), gain, wer)
    bounds = {language: 100 * one.estimate().upper(confidence) for language, one in excesses.items()}
    winner = int(found.winner(confidence))
    return Choice(
        winner=None if winner == NONE else names[winner],
        claims={
            name: Claim(
                bounds={language: float(of[index]) for language, of in bounds.items()},
                p_breaks_a_limit=float(found.keeps[index]),
                p_not_better=float(found.better[index]),
                keeps_limits=bool(found.keeps[index] <= 1 - confidence),
                better=bool(found.better[index] <= 1 - confidence),
            )
            for index, name in enumerate(names)
        },
    )


def _label(decoded: Decoded, experiment: Experiment) -> str:
    """Return the rate's name; what loops that were stopped would have added is not in a plain one."""
    stopped = not experiment.metric.capped and any(is_stopped(table).any() for table in decoded.tables)
    return f"{experiment.metric.label}{' (a lower bound)' if stopped else ''}"


class Side:
    """One language: WERs (seeds,) of original and baseline, (k, seeds) of the candidates."""

    def __init__(self, decoded: Decoded, language: str, experiment: Experiment) -> None:
        paired = paired_errors(decoded.tables, language, experiment.metric)
        seeds, confirm = len(decoded.baseline), experiment.search.confirm
        self.language, self.experiment = language, experiment
        self.speech = Speech(paired.words, paired.speakers, confirm.resamples, experiment.search.seed)
        rates = self.speech.rates(paired.errors)
        self.original, self.baseline = rates[:1], rates[1 : 1 + seeds]
        of_candidates = np.arange(1 + seeds, len(paired.errors)).reshape(len(decoded.candidates), seeds)
        self.candidates = rates[of_candidates]

    def of(self, index: int) -> Rates:
        """Return the rates of the original (0), the baseline (1) or a candidate."""
        return (self.original, self.baseline)[index] if index < 2 else self.candidates[index - 2]

    def wer(self, index: int) -> Measurement:
        """Return the WER of the model with that index (`of`)."""
        return measure(lambda rate: rate, self.of(index))

    def difference(self, index: int, other: int) -> Measurement:
        """Return by how much the first model's WER is above the other's."""
        return measure(sub, self.of(index), self.of(other))

    def gain(self) -> Measurement:
        """Return by how much the candidates' WER is above the baseline's."""
        return measure(sub, self.candidates, self.baseline)

    def excess(self) -> Measurement:
        """Return by how much the candidates' WER is above the language's limit."""
        rule = Rule.of(self.experiment.search.constraints, self.language)
        fixed = rule.reference
        if not isinstance(fixed, str):
            return measure(lambda rate: rule.excess(rate, fixed), self.candidates)
        reference = {"baseline": self.baseline, "original": self.original}[fixed]
        return measure(rule.excess, self.candidates, reference)


def _interval(measurement: Measurement, confidence: float) -> Interval:
    estimate = measurement.estimate()
    low, high = estimate.interval(confidence)
    return Interval(float(estimate.value), float(low), float(high))


def _identification(decoded: Decoded, index: int) -> dict[str, float]:
    """Return the mean over the seeds, of the languages where it was measured."""
    of_setting = [[decoded.original], decoded.baseline, *decoded.candidates.values()][index]
    found: dict[str, list[float]] = {}
    for table in of_setting:
        for language, rates in rates_by_language(table).items():
            if rates.language_identification_accuracy is not None:
                found.setdefault(language, []).append(rates.language_identification_accuracy)
    return {language: float(np.mean(values)) for language, values in found.items()}
