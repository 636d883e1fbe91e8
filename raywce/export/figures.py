"""The figures of a model card: WER per language of the original, the baseline and the model, as the run has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raywce.evaluation.rates import rates_by_language
from raywce.export.source import Source
from raywce.run_folder import read_parquet
from raywce.search.held_out import FOLDER, TEST_SPLIT

Wers = Mapping[str, float]


@dataclass(frozen=True)
class Figures:
    """WERs of one set of utterances.

    Attributes:
        name: of the set: dev, test, or an extra test split's own.
        about: what the figures are, in a line.
        columns: heading to text by language, in percent.
        own: this very model's, as fractions.
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
    """One training's dev figures beside what the run has to hold them against."""
    languages = source.experiment.languages.all
    own = {name: source.last[f"wer/{name}"] for name in languages}
    columns = {}
    if source.outcome:
        references = source.outcome["references"]
        deviation = references["baseline_deviation"]
        original = {name: _percent(references["original"][name]) for name in languages}
        baseline = {name: _percent(references["baseline"][name]) for name in languages}
        if deviation:
            baseline = {name: f"{wer} ± {100 * deviation[name]:.2f}" for name, wer in baseline.items()}
        columns = {"original": original, "baseline": baseline}
    elif source.rows[0]["step"] == 0:
        columns = {"original": {name: _percent(source.rows[0][f"wer/{name}"]) for name in languages}}
    columns["this model"] = {name: _percent(wer) for name, wer in own.items()}
    several = source.outcome and source.outcome["references"]["baseline_deviation"]
    seeds = "; the baseline is a mean ± standard deviation over its seeds" if several else ""
    part = "" if source.experiment.evaluation.part == "all" else " (a part of it)"
    return Figures("dev", f"dev{part}: point estimates without intervals, of one training{seeds}", columns, own)


def _confirmed(source: Source) -> Figures:
    assert source.outcome is not None
    comparison = source.outcome["confirmation"]["dev"]
    own = {name: source.last[f"wer/{name}"] for name in source.experiment.languages.all}
    return _compared("dev", "dev, the speakers that the search did not see", comparison, source, own)


def _tests(source: Source) -> list[Figures]:
    assert source.outcome is not None
    found = []
    for name, comparison in source.outcome["confirmation"]["tests"].items():
        table = read_parquet(source.folder.path(FOLDER, name, f"{source.trial_id}.parquet"))
        rates = rates_by_language(table)
        own = {of: getattr(rates[of], source.experiment.evaluation.metric) for of in comparison["original"]["wer"]}
        about = "the test split" if name == TEST_SPLIT else f"the test set {name}"
        found.append(_compared(name, f"{about}, opened once, after the choice", comparison, source, own))
    return found


def _compared(name: str, about: str, comparison: Mapping[str, Any], source: Source, own: Wers) -> Figures:
    """Means over the seeds with intervals, and the one seed that is exported."""
    winner = comparison["candidates"][source.last["candidate"]]
    columns = {
        "original": {of: _interval(wer) for of, wer in comparison["original"]["wer"].items()},
        "baseline": {of: _interval(wer) for of, wer in comparison["baseline"]["wer"].items()},
        "winner": {of: _interval(wer) for of, wer in winner["wer"].items()},
        "winner against baseline": {of: _change(wer) for of, wer in winner["against_baseline"].items()},
        "this model": {of: _percent(wer) for of, wer in own.items()},
    }
    intervals = f"{100 * comparison['confidence']:g} % intervals over speech and seeds"
    seeds = f"baseline and winner are means over {comparison['seeds']} seeds; this model is one of the winner's"
    return Figures(name, f"{about}; {intervals}; {seeds}", columns, own)


def _percent(wer: float | None, sign: str = "") -> str:
    """Nothing where it is not known, which is null in JSON."""
    return "" if wer is None else f"{100 * wer:{sign}.2f}"


def _interval(interval: Mapping[str, float | None], sign: str = "") -> str:
    value, low, high = (_percent(interval[name], sign) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _change(interval: Mapping[str, float | None]) -> str:
    return _interval(interval, "+")


def claims(source: Source) -> Sequence[str]:
    """What the run allows to say of the model, and what it doesn't."""
    if source.kind == "trained":
        return ["One training with settings that were given: nothing was searched and nothing compared."]
    if source.kind == "asked for":
        return ["Taken by its id: it need not be the best trial, nor keep the limits of the other languages."]
    if source.kind == "best":
        return [
            "The best feasible one of several trials, by the same dev figures that are shown: it looks better than it"
            " is, and that it is better or keeps the limits of the other languages is not confirmed."
        ]
    assert source.outcome is not None
    choice = source.outcome["confirmation"]["choice"]
    better = choice["claims"][choice["winner"]]["better"]
    confidence = f"{100 * source.outcome['confirmation']['dev']['confidence']:g} %"
    verdict = "is better" if better else "is not shown to be better"
    kept = f"The setting keeps every language's limit, and {verdict} than the baseline, with {confidence} confidence"
    return [f"{kept}, adjusted for the number of candidates."]
