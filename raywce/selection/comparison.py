"""Original, baseline and candidates side by side on the same speech: rates, differences and claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from operator import sub

import numpy as np
import pyarrow as pa

from raywce.evaluation.arms import Arms, Averages, at_the_limit
from raywce.evaluation.confidence import Estimate, Rates, Speech
from raywce.evaluation.paired import paired_errors
from raywce.evaluation.rates import rates_by_language
from raywce.evaluation.utterances import is_stopped
from raywce.experiment.schema import Experiment
from raywce.selection.candidates import Candidate
from raywce.selection.claims import Evidence, Looks, evidence
from raywce.selection.limits import Rule, worst
from raywce.selection.runaways import runaway_notes
from raywce.selection.trials import BASELINE, ORIGINAL
from raywce.valid_json import Number

Languages = Mapping[str, "Interval"]


@dataclass(frozen=True)
class Interval:
    """A rate or a difference of rates, as a fraction, with its two-sided interval."""

    value: Number
    low: Number
    high: Number

    @property
    def above_zero(self) -> Interval:
        """The same of a rate, which is never below 0: few errors of few speakers have a wide interval."""
        return Interval(self.value, max(self.low, 0.0), self.high)


@dataclass(frozen=True)
class Decoded:
    """Texts that were decoded of one set of utterances: tables of `raywce.evaluation.utterances.SCHEMA`.

    Attributes:
        original: by the model before fine-tuning.
        baseline: by the baseline of each seed.
        candidates: by name, of each seed; the baseline's seeds, in the same order, or the first of them.
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
        """All of them in the same order, each with the name of its model, and which of its trainings it is."""
        return [
            (f"{name}, {number} of {len(tables)}" if len(tables) > 1 else name, table)
            for name, tables in self.models
            for number, table in enumerate(tables, 1)
        ]

    @property
    def models(self) -> list[tuple[str, Sequence[pa.Table]]]:
        """The original, the baseline and the candidates, each with its name."""
        return [(ORIGINAL, [self.original]), (BASELINE, self.baseline), *self.candidates.items()]


@dataclass(frozen=True)
class ModelFigures:
    """One model's figures by language, means over its seeds; no differences for what others are compared with.

    Attributes:
        seeds: how many; 0 of the original, which was not trained.
        wer: each language's own rate, a CER where the comparison's `marks` or `label` say so.
        low_resource_gain: mean low-resource rate minus the baseline's, or with WERs and CERs among them the mean of
            their relative changes from it; None too where one was not decoded.
        language_identification: share of utterances whose language is recognised; empty where not measured.
    """

    seeds: int
    wer: Languages
    against_original: Languages | None
    against_baseline: Languages | None
    low_resource_gain: Interval | None
    language_identification: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """The figures of one set of utterances.

    Attributes:
        label: of the rates, such as `capped WER`.
        objective_label: of what the gain is of, such as `low-resource capped WER`; empty: `label`'s.
        marks: `WER` or `CER` by language; empty where all have a rate of one kind.
        notes: where the plain rate is well above the capped one, and by which utterances.
        speakers: how many of each language are known.
        no_claim_on_new_speakers: languages with too few of them to say anything about other people.
        watched: languages that the models were not trained on.
    """

    confidence: float
    original: ModelFigures
    baseline: ModelFigures
    candidates: Mapping[str, ModelFigures]
    speakers: Mapping[str, int]
    no_claim_on_new_speakers: Sequence[str]
    label: str = "WER"
    notes: Sequence[str] = ()
    watched: Sequence[str] = ()
    objective_label: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)

    @property
    def of_gain(self) -> str:
        """The name of what the gain is of."""
        return self.objective_label or f"low-resource {self.label}"


@dataclass(frozen=True)
class Claim:
    """What is claimed of one candidate: it keeps every limit, and its low-resource rate is below the baseline's.

    Attributes:
        seeds: trainings that it is judged by.
        chance: of being confirmed, as the search saw it.
        bounds: points by language with a limit, which its violation is below with the wanted confidence, by
            held-out speech alone; <= 0 holds.
        gain_bound: points that what is minimised is at most above the baseline's, likewise.
        p_held_out: of "one of the two is not so", by held-out speech alone.
        p_with_model: the same by both halves of dev.
        model_trusted: whether the search's model is used in all of that; it is not where it doesn't fit the trials, or
            is better than held-out speech by more than two standard errors.
        held_out: whether it is confirmed by held-out speech alone too.
        confirmed: whether it is, by both halves of dev.
    """

    seeds: int
    chance: Number
    bounds: Mapping[str, Number]
    gain_bound: Number
    p_held_out: Number
    p_with_model: Number
    model_trusted: bool
    held_out: bool
    confirmed: bool

    @property
    def worst(self) -> tuple[str, float] | None:
        """The language whose bound is the highest, and the points."""
        return worst(self.bounds)


@dataclass(frozen=True)
class Choice:
    """The candidates that are confirmed, from safe to bold.

    Attributes:
        winner: the last that is.
        held_out: the last that is by held-out speech alone too.
        claims: by candidate, in their order.
    """

    winner: str | None
    held_out: str | None
    claims: Mapping[str, Claim]

    @classmethod
    def of(cls, claims: Mapping[str, Claim]) -> Choice:
        """Return the choice that the claims lead to."""
        confirmed = [name for name, claim in claims.items() if claim.confirmed]
        held_out = [name for name, claim in claims.items() if claim.held_out]
        return cls(confirmed[-1] if confirmed else None, held_out[-1] if held_out else None, claims)

    @property
    def nearest(self) -> str | None:
        """The candidate with the lowest p; None without candidates."""
        return min(self.claims, key=lambda name: self.claims[name].p_with_model, default=None)

    @property
    def shown(self) -> str | None:
        """The winner; without one, the candidate that is nearest to being one."""
        return self.winner or self.nearest


def side_by_side(decoded: Decoded, experiment: Experiment, over_seeds: bool = True) -> dict[str, Side]:
    """Return each language that was decoded, its speech resampled once for all that is said of it.

    Args:
        decoded: what was.
        experiment: whose limits, rate and bootstrap count.
        over_seeds: whether figures are to hold for other seeds; else for these trainings.
    """
    return {name: Side(decoded, name, experiment, over_seeds) for name in languages_in(decoded, experiment)}


def languages_in(decoded: Decoded, experiment: Experiment) -> list[str]:
    """Return the experiment's languages that were decoded."""
    present = set(decoded.original["language"].to_pylist())
    return [name for name in experiment.languages.decoded if name in present]


def compare(decoded: Decoded, sides: Mapping[str, Side], experiment: Experiment) -> Comparison:
    """Return rates and differences with intervals, utterance and seed variance joined."""
    confidence, low_resource = experiment.search.confirm.confidence, experiment.languages.low_resource
    metrics = experiment.metrics

    def setting(index: int) -> ModelFigures:
        """Return a model's figures; 0 is the original, 1 the baseline."""
        over = [{name: side.difference(index, other) for name, side in sides.items()} for other in range(min(index, 2))]
        differences = [{name: interval_of(one, confidence) for name, one in of.items()} for of in over]
        has_gain = len(over) > 1 and sides.keys() >= set(low_resource)
        return ModelFigures(
            seeds=len(decoded.models[index][1]) if index else 0,
            wer={name: interval_of(side.wer(index), confidence).above_zero for name, side in sides.items()},
            against_original=differences[0] if index > 0 else None,
            against_baseline=differences[1] if index > 1 else None,
            low_resource_gain=interval_of(gain(sides, low_resource, index), confidence) if has_gain else None,
            language_identification=_identification(decoded.models[index][1]),
        )

    candidates = {name: setting(2 + number) for number, name in enumerate(decoded.candidates)}
    return Comparison(
        confidence=confidence,
        original=setting(0),
        baseline=setting(1),
        candidates=candidates,
        speakers={language: side.speech.known_speakers for language, side in sides.items()},
        no_claim_on_new_speakers=[name for name, side in sides.items() if not side.speech.claims_new_speakers],
        label=_lower_bound(metrics.label, decoded, experiment),
        objective_label=_lower_bound(metrics.objective_label, decoded, experiment),
        marks=metrics.marks,
        notes=runaway_notes(decoded.named, metrics),
        watched=[name for name in experiment.languages.watched if name in sides],
    )


def choose(
    decoded: Decoded, sides: Mapping[str, Side], experiment: Experiment, candidates: Mapping[str, Candidate]
) -> Choice:
    """Return what is claimed of each candidate, in their order.

    Args:
        decoded: of dev, held out of the search.
        sides: of it.
        experiment: whose limits, confidence and rate count.
        candidates: by name, with what the search knows of them by that rate.
    """
    looks = looks_of(experiment)
    first = evidence_at(decoded, sides, experiment, candidates, looks.first)
    last = evidence_at(decoded, sides, experiment, candidates)
    held_out, with_model = looks.confirmed(first, last)
    level, low = 1 - looks.bounds[1], experiment.languages.low_resource
    claims = {}
    for number, (name, tables) in enumerate(decoded.candidates.items()):
        shown = last[number] if len(tables) > looks.first else first[number]
        bounds = {of: 100 * float(sides[of].excess(2 + number).upper(level)) for of in experiment.limited_languages}
        claims[name] = Claim(
            seeds=len(tables),
            chance=candidates[name].chance,
            bounds=bounds,
            gain_bound=100 * float(no_gain(sides, low, 2 + number).upper(level)),
            p_held_out=shown.held_out,
            p_with_model=shown.with_model,
            model_trusted=shown.trusted,
            held_out=number < held_out,
            confirmed=number < with_model,
        )
    return Choice.of(claims)


def looks_of(experiment: Experiment) -> Looks:
    """Return the two looks of a confirm phase."""
    return Looks(experiment.search.confirm.seeds, experiment.search.confirm.confidence)


def evidence_at(
    decoded: Decoded,
    sides: Mapping[str, Side],
    experiment: Experiment,
    candidates: Mapping[str, Candidate],
    seeds: int | None = None,
) -> list[Evidence]:
    """Return the evidence on each candidate by its first trainings, and as many of the baseline's; None: by all."""
    found = []
    for index, name in enumerate(decoded.candidates, 2):
        of_limits = [sides[language].excess(index, seeds) for language in experiment.limited_languages]
        claims = [*of_limits, no_gain(sides, experiment.languages.low_resource, index, seeds)]
        found.append(evidence(Estimate.stacked(claims), candidates[name].known.difference, candidates[name].known.fit))
    return found


def gain(sides: Mapping[str, Side], low_resource: Sequence[str], index: int) -> Estimate:
    """Return by how much a model's mean low-resource rate is above the baseline's.

    With WERs and CERs among them, the mean of their relative changes from the baseline's on the same speech.
    """
    return _together(sides, low_resource).estimate(sub, index, 1)


def no_gain(sides: Mapping[str, Side], low_resource: Sequence[str], index: int, seeds: int | None = None) -> Estimate:
    """Return the same, by the first seeds, to test whether it is below 0."""
    return at_the_limit(_together(sides, low_resource, seeds), sub, index, 1)


def _together(sides: Mapping[str, Side], languages: Sequence[str], seeds: int | None = None) -> Arms | Averages:
    found = [sides[language] for language in languages]
    return found[0].together(found, seeds, found[0].relative)


def _lower_bound(label: str, decoded: Decoded, experiment: Experiment) -> str:
    """Return the rate's name; what loops that were stopped would have added is not in a plain one."""
    stopped = not experiment.metrics.capped and any(is_stopped(table).any() for table in decoded.tables)
    return f"{label}{' (a lower bound)' if stopped else ''}"


class Side:
    """One language: the rates of original, baseline and candidates, in this order, each by seed."""

    def __init__(self, decoded: Decoded, language: str, experiment: Experiment, over_seeds: bool = True) -> None:
        paired = paired_errors(decoded.tables, language, experiment.metrics.of(language))
        self.relative = experiment.metrics.is_relative
        self.confirm = confirm = experiment.search.confirm
        self.rule = Rule.of(experiment.search.constraints, language)
        self.speech = Speech(paired.words, paired.speakers, confirm.resamples, experiment.search.seed)
        rates = self.speech.rates(paired.errors)
        ends = [0, *accumulate(len(tables) for _, tables in decoded.models)]
        self.rates = [rates[start:end] for start, end in pairwise(ends)]
        self.fixed = 1 if over_seeds else len(self.rates)

    def first(self, seeds: int | None = None, relative: bool = False) -> list[Rates]:
        """Return the rates by the first seeds of candidates, and of the baseline beside them; None: by all.

        Relative ones are shares of the baseline's rate by these seeds.
        """
        rates = self.rates
        if seeds is not None:
            original, baseline, *candidates = self.rates
            rates = [original, baseline[: self.confirm.of_baseline(seeds)], *(one[:seeds] for one in candidates)]
        return self._shares(rates, rates[1]) if relative else rates

    def _shares(self, rates: Sequence[Rates], baseline: Rates) -> list[Rates]:
        return [one.relative_to(baseline, self.speech.half_an_error) for one in rates]

    def wer(self, index: int) -> Estimate:
        """Return the rate of the original (0), the baseline (1) or a candidate."""
        return self._arms().estimate(lambda rate: rate, index)

    def difference(self, index: int, other: int) -> Estimate:
        """Return by how much the first model's rate is above the other's."""
        return self._arms().estimate(sub, index, other)

    def excess(self, index: int, seeds: int | None = None) -> Estimate:
        """Return by how much a model's rate is above the language's limit, by the first seeds, to test if it is.

        A model without an error seems not to vary, though other speech like this may hold errors: its variance is at
        least that of errors that come by chance, as often as the limit allows (Poisson's).
        """
        arms, reference = self._arms(seeds), self.rule.reference
        if isinstance(reference, str):
            found = at_the_limit(arms, self.rule.excess, index, {"original": 0, "baseline": 1}[reference])
        else:
            found = at_the_limit(arms, lambda rate: self.rule.excess(rate, reference), index)
        words, utterances = self.speech.words.sum(), len(self.speech.words)
        if arms.estimate(lambda rate: rate, index).value != 0 or found.speech_variance * words >= -found.value:
            return found
        by_chance = np.asarray(np.maximum(-found.value, 0) / words)
        return replace(found, speech_variance=by_chance, speech_df=np.asarray(float(utterances - 1)))

    def together(self, sides: Sequence[Side], seeds: int | None = None, relative: bool = False) -> Arms | Averages:
        """Return the models on the speech of several languages, of which the mean counts: of rates, or of shares."""
        return Arms([side.first(seeds, relative) for side in sides], self.fixed)

    def _arms(self, seeds: int | None = None) -> Arms | Averages:
        return self.together([self], seeds)


class AveragedSide(Side):
    """One language: the rates of the original and of averages over the seeds of baseline and candidate."""

    def __init__(self, decoded: Decoded, language: str, experiment: Experiment) -> None:
        """Take what was decoded: behind each average, the averages without one each of its seeds."""
        super().__init__(decoded, language, experiment, over_seeds=False)
        self.left_out = [self.rates[0][:0], *(one[1:] for one in self.rates[1:])]
        self.rates = [one[:1] for one in self.rates]

    def together(self, sides: Sequence[Side], seeds: int | None = None, relative: bool = False) -> Averages:
        """Return the models on the speech of several languages; `seeds` are all of them."""
        averaged = [side for side in sides if isinstance(side, AveragedSide)]
        left_out = [side._shares(side.left_out, side.rates[1]) if relative else side.left_out for side in averaged]
        return Averages([side.first(relative=relative) for side in averaged], left_out)


def interval_of(estimate: Estimate, confidence: float) -> Interval:
    """Return a figure with its two-sided interval."""
    low, high = estimate.interval(confidence)
    return Interval(float(estimate.value), float(low), float(high))


def _identification(tables: Sequence[pa.Table]) -> dict[str, float]:
    """Return the mean over the seeds, of the languages where it was measured."""
    found: dict[str, list[float]] = {}
    for table in tables:
        for language, rates in rates_by_language(table).items():
            if rates.language_identification_accuracy is not None:
                found.setdefault(language, []).append(rates.language_identification_accuracy)
    return {language: float(np.mean(values)) for language, values in found.items()}
