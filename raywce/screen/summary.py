"""A search's outcome in one line of plain words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from langcodes import Language
from langcodes.tag_parser import LanguageTagError

from raywce import numbers
from raywce.screen.confirmation import way
from raywce.selection.comparison import ModelFigures
from raywce.selection.limits import Limit
from raywce.selection.outcome import SearchOutcome

Rates = Mapping[str, float]


def plain_words(outcome: SearchOutcome) -> str:
    """Return what was found: the low-resource rates, how sure that is, and what it costs the languages with limits.

    Figures are of a test split where one was opened, else of the part of dev that decided.
    """
    found = outcome.confirmation
    if found is None:
        return _of_search(outcome)
    name, figures = next(iter(found.tests.items()), ("held-out dev", found.dev))
    baseline = _rates(figures.baseline)
    winner = found.choice.winner
    if winner is None:
        return f"Nothing is confirmed: the baseline stays, with {_low(outcome, [baseline])} on {name}."
    own = _rates(figures.candidates[winner])
    low, confirmed = _low(outcome, [baseline, own]), way(found.choice.claims[winner])
    low = f"{low} on {name}, baseline to winner, confirmed {confirmed}"
    breaks = "; but it breaks a limit of robustness" if found.breaks else ""
    return f"{low}{_others(outcome, _rates(figures.original), baseline, own)}{breaks}."


def _of_search(outcome: SearchOutcome) -> str:
    references = outcome.references
    if outcome.best is None:
        return f"No trial keeps all limits: the baseline stays, with {_low(outcome, [references.baseline])} on dev."
    if not outcome.better:
        return f"Nothing better than the baseline was found, with {_low(outcome, [references.baseline])} on dev."
    low = f"{_low(outcome, [references.baseline, outcome.best.wer])} on dev, baseline to best trial, not confirmed"
    return f"{low}{_others(outcome, references.original, references.baseline, outcome.best.wer)}."


def _low(outcome: SearchOutcome, models: list[Rates]) -> str:
    """Return the low-resource languages by their names, each with its rates of the models."""
    by_language = [
        (language, " → ".join(numbers.percent(rates[language], digits=1) for rates in models))
        for language in outcome.low_resource
        if all(language in rates for rates in models)
    ]
    names = {language: _name(language) for language, _ in by_language}
    shared = {name for name, count in Counter(names.values()).items() if count > 1}
    rates = [
        f"{names[language]}{f' ({language})' if names[language] in shared else ''} {rates} % {_rate(outcome, language)}"
        for language, rates in by_language
    ]
    return ", ".join(rates)


def _rate(outcome: SearchOutcome, language: str) -> str:
    """Return the name of a language's rate, such as `capped CER` where languages have different ones."""
    kind = outcome.marks.get(language)
    return outcome.label if kind is None else f"{'capped ' * outcome.label.startswith('capped')}{kind}"


def _name(language: str) -> str:
    """Return a language's name in English; its code where that is one of the user's own."""
    try:
        return Language.get(language).display_name()
    except LanguageTagError:
        return language


def _others(outcome: SearchOutcome, original: Rates, baseline: Rates, model: Rates) -> str:
    """Return the changes of the languages with limits in points, and which limits these break; empty without limits."""
    limited = {language: rule for language, rule in outcome.rules.items() if language in model}
    if not limited:
        return ""
    measured = {"baseline": baseline, "original": original}
    changes = ", ".join(f"{language} {100 * (model[language] - baseline[language]):+.1f}" for language in limited)
    above = {}
    for language, rule in limited.items():
        reference = measured[rule.reference][language] if isinstance(rule.reference, str) else rule.reference
        above[language] = Limit(reference, float(rule.allowed_rise(reference))).violation(model[language])
    broken = ", ".join(f"{language} {points:.1f} above its limit" for language, points in above.items() if points > 0)
    return f"; {changes}: {broken or 'all within their limits by point estimates'}"


def _rates(model: ModelFigures) -> Rates:
    return {language: wer.value for language, wer in model.wer.items()}
