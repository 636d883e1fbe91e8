"""The figures of a model card: WER per language of the original, the baseline and the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raywce import numbers
from raywce.evaluation.rates import rates_by_language
from raywce.export.source import Source
from raywce.runs.tables import TESTS
from raywce.selection.comparison import Comparison, Interval
from raywce.selection.outcome import Confirmation
from raywce.selection.trials import TEST
from raywce.storage.files import read_table
from raywce.trial_report import Report

Wers = Mapping[str, float]


@dataclass(frozen=True)
class Figures:
    """WERs of one set of utterances.

    Attributes:
        name: of the set: dev, test, or an extra test split's own.
        about: a description, in one line.
        columns: heading to text by language, in percent.
        own: WER of the exported model, as fractions.
    """

    name: str
    about: str
    columns: Mapping[str, Mapping[str, str]]
    own: Wers

    @property
    def rows(self) -> list[list[str]]:
        """A row for each language."""
        return [[language, *(of.get(language, "") for of in self.columns.values())] for language in self.own]


def figures(source: Source) -> list[Figures]:
    """The tables of the card, test splits first."""
    if source.kind == "confirmed":
        return [*_tests(source), _confirmed(source)]
    return [_single(source)]


def _single(source: Source) -> Figures:
    """Return one training's dev figures, beside those of the original and the baseline where the run has them."""
    languages = source.experiment.languages.all
    own = source.wer
    columns = {}
    if source.outcome:
        references = source.outcome.references
        deviation = references.baseline_deviation
        original = {name: numbers.percent(references.original[name]) for name in languages}
        baseline = {
            name: numbers.with_deviation(references.baseline[name], deviation[name] if deviation else None)
            for name in languages
        }
        columns = {"original": original, "baseline": baseline}
    elif source.rows[0]["step"] == 0:
        before = Report.of(source.rows[0]).wer
        columns = {"original": {name: numbers.percent(before[name]) for name in languages}}
    columns["this model"] = {name: numbers.percent(wer) for name, wer in own.items()}
    several = source.outcome and source.outcome.references.baseline_deviation
    seeds = "; the baseline is a mean ± standard deviation over its seeds" if several else ""
    part = "" if source.experiment.evaluation.part == "all" else " (a part of it)"
    return Figures("dev", f"dev{part}: point estimates without intervals, of one training{seeds}", columns, own)


def _confirmed(source: Source) -> Figures:
    comparison = _confirmation(source).dev
    return _compared("dev", "dev, speakers held out of the search", comparison, source, source.wer)


def _tests(source: Source) -> list[Figures]:
    found = []
    for name, comparison in _confirmation(source).tests.items():
        table = read_table(source.folder.path(TESTS, name, f"{source.trial_id}.parquet"))
        rates = rates_by_language(table)
        own = {of: getattr(rates[of], source.experiment.evaluation.metric) for of in comparison.original.wer}
        about = "the test split" if name == TEST else f"the test set {name}"
        found.append(_compared(name, f"{about}, opened once, after the choice", comparison, source, own))
    return found


def _compared(name: str, about: str, comparison: Comparison, source: Source, own: Wers) -> Figures:
    """Return means over the seeds with intervals, and the figures of the one seed that is exported."""
    winner = comparison.candidates[source.last["candidate"]]
    columns = {
        "original": {of: _interval(wer) for of, wer in comparison.original.wer.items()},
        "baseline": {of: _interval(wer) for of, wer in comparison.baseline.wer.items()},
        "winner": {of: _interval(wer) for of, wer in winner.wer.items()},
        "change from baseline": {
            of: numbers.change_interval(wer.value, wer.low, wer.high)
            for of, wer in (winner.against_baseline or {}).items()
        },
        "this model": {of: numbers.percent(wer) for of, wer in own.items()},
    }
    intervals = f"{numbers.confidence(comparison.confidence)} % intervals over speech and seeds"
    seeds = f"baseline and winner are means over {comparison.seeds} seeds; this model is one of the winner's"
    return Figures(name, f"{about}; {intervals}; {seeds}", columns, own)


def _interval(interval: Interval) -> str:
    return numbers.percent_interval(interval.value, interval.low, interval.high)


def _confirmation(source: Source) -> Confirmation:
    assert source.outcome is not None
    assert source.outcome.confirmation is not None
    return source.outcome.confirmation


def claims(source: Source) -> Sequence[str]:
    """Return what the run does and does not show about the model."""
    if source.kind == "trained":
        return ["This is one training with given settings: nothing was searched or compared."]
    if source.kind == "by id":
        return [
            "The trial was selected by its id: it may not be the best one, and may break limits of other languages."
        ]
    if source.kind == "best":
        return [
            "This is the best feasible trial by the dev figures shown here, which are therefore optimistic. It is not"
            " confirmed that it is better than the baseline or keeps the limits of the other languages."
        ]
    confirmation = _confirmation(source)
    better = confirmation.choice.claims[confirmation.choice.winner or ""].better
    confidence = f"{numbers.confidence(confirmation.dev.confidence)} %"
    verdict = "is better" if better else "is not shown to be better"
    kept = f"The setting keeps every language's limit, and {verdict} than the baseline, with {confidence} confidence"
    return [f"{kept}, adjusted for the number of candidates."]
