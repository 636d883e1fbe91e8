"""The figures of a model card: the rate of each language of the original, the baseline and the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from raywce import numbers
from raywce.evaluation.rates import rates_by_language
from raywce.export.source import Source
from raywce.runs.tables import AVERAGES, TESTS
from raywce.selection.comparison import Comparison, Interval
from raywce.selection.languages import labelled
from raywce.selection.trials import CONFIRM, TEST
from raywce.storage.files import read_table
from raywce.trial_report import Report


@dataclass(frozen=True)
class Figures:
    """Rates of one set of utterances, of each language its own.

    Attributes:
        name: of the set: dev, test, or an extra test split's own.
        about: a description, in one line.
        columns: heading to text by language, in percent.
        own: rates of the exported model, as fractions.
        plain: the same, not capped.
        watched: languages that it was not trained on.
        marks: `WER` or `CER` by language; empty where all have a rate of one kind.
    """

    name: str
    about: str
    columns: Mapping[str, Mapping[str, str]]
    own: Mapping[str, float]
    plain: Mapping[str, float]
    watched: Collection[str]
    marks: Mapping[str, str]

    @property
    def rows(self) -> list[list[str]]:
        """Cells of a row for each language."""
        return [
            [labelled(language, self.watched, self.marks), *(of.get(language, "") for of in self.columns.values())]
            for language in self.own
        ]


def figures(source: Source) -> list[Figures]:
    """Return the tables of the card, test splits first."""
    if source.confirmation is None:
        return [_single(source)]
    averaged, found = source.averaged, []
    model, of_tests = (averaged.name, averaged.tests) if averaged else (source.trial_id, source.confirmation.tests)
    for name, comparison in of_tests.items():
        own, plain = _rates(source, TESTS, name, f"{model}.parquet")
        about = "the test split" if name == TEST else f"the test set {name}"
        found.append(_compared(name, f"{about}, opened once, after the choice", comparison, source, own, plain))
    about = "dev, speakers held out of the search"
    if averaged:
        own, plain = _rates(source, AVERAGES, f"{model}.parquet")
        return [*found, _compared("dev", about, averaged.dev, source, own, plain)]
    return [*found, _compared("dev", about, source.confirmation.dev, source, source.wer, source.plain_wer)]


def _rates(source: Source, *place: str) -> list[dict[str, float]]:
    """Return the rates of a table of utterances in the run folder, by language: as decided by, and not capped."""
    rates, metrics = rates_by_language(read_table(source.folder.path(*place))), source.experiment.metrics
    return [{of: getattr(rate, one.of(of).field) for of, rate in rates.items()} for one in (metrics, metrics.plain)]


def _single(source: Source) -> Figures:
    """Return one training's dev figures, beside those of the original and the baseline where the run has them."""
    columns: dict[str, dict[str, str]] = {}
    seeds = ""
    confirms = source.last.get("phase") == CONFIRM
    if source.outcome and not confirms:  # those decoded the other part of dev
        references = source.outcome.references
        deviation = references.baseline_deviation or {}
        columns["original"] = {name: numbers.percent(references.original[name]) for name in source.wer}
        columns["baseline"] = {
            name: numbers.with_deviation(references.baseline[name], deviation.get(name)) for name in source.wer
        }
        seeds = "; the baseline is a mean ± standard deviation over its seeds" if deviation else ""
    elif not source.outcome and source.rows[0]["step"] == 0:
        before = source.experiment.metrics.deciding(Report.of(source.rows[0]).rates)
        columns["original"] = {name: numbers.percent(before[name]) for name in source.wer}
    columns["this model"] = {name: numbers.percent(wer) for name, wer in source.wer.items()}
    if source.outcome and source.experiment.search.confirm.candidates:
        part = ", speakers held out of the search" if confirms else ", the part that the search saw"
    else:
        part = "" if source.experiment.evaluation.part == "all" else " (a part of it)"
    about = f"dev{part}: point estimates without intervals, of one training{seeds}"
    watched, marks = source.experiment.languages.watched, source.experiment.metrics.marks
    return Figures("dev", about, columns, source.wer, source.plain_wer, watched, marks)


def _compared(
    name: str,
    about: str,
    comparison: Comparison,
    source: Source,
    own: Mapping[str, float],
    plain: Mapping[str, float],
) -> Figures:
    """Return figures with intervals: of the average that is exported, or means over the seeds beside one seed's."""
    winner = comparison.candidates[source.last["candidate"]]
    change = {of: numbers.change_interval(wer) for of, wer in (winner.against_baseline or {}).items()}
    columns = {"original": _intervals(comparison.original.wer), "baseline": _intervals(comparison.baseline.wer)}
    over = "speech and seeds"
    if source.averaged:
        columns |= {"this model": _intervals(winner.wer), "change from baseline": change}
        seeds = f"averages of the weights over {winner.seeds} seeds, the baseline's too"
        over = over if name == "dev" else "speech"
    else:
        columns |= {"winner": _intervals(winner.wer), "change from baseline": change}
        columns["this model"] = {of: numbers.percent(wer) for of, wer in own.items()}
        seeds = f"the winner is a mean over {winner.seeds} seeds, the baseline over {comparison.baseline.seeds}"
        seeds += "; this model is one of the winner's"
    intervals = f"{numbers.confidence(comparison.confidence)} % intervals over {over}"
    watched, marks = source.experiment.languages.watched, source.experiment.metrics.marks
    return Figures(name, f"{about}; {intervals}; {seeds}", columns, own, plain, watched, marks)


def _intervals(wers: Mapping[str, Interval]) -> dict[str, str]:
    return {of: numbers.percent_interval(wer) for of, wer in wers.items()}
