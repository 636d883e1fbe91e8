from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from raywce.screen.summary import plain_words
from raywce.selection.comparison import Choice, Claim, Comparison, Interval, ModelFigures
from raywce.selection.limits import Rule
from raywce.selection.outcome import Confirmation, References, SearchOutcome, TrialFigures

BASELINE, FOUND = {"gl": 0.631, "es": 0.05, "pt": 0.06}, {"gl": 0.5904, "es": 0.058, "pt": 0.0592}
ORIGINAL = {"gl": 0.9, "es": 0.04, "pt": 0.05}
ONE = "candidate-1"


def intervals(rates: Mapping[str, float]) -> Mapping[str, Interval]:
    return {language: Interval(rate, rate - 0.01, rate + 0.01) for language, rate in rates.items()}


def comparison(winner: Mapping[str, float]) -> Comparison:
    original, baseline, own = (
        ModelFigures(5, intervals(rates), None, None, None, {}) for rates in (ORIGINAL, BASELINE, winner)
    )
    return Comparison(0.95, original, baseline, {ONE: own}, {}, [])


def confirmation(held_out: bool = True, confirmed: bool = True, **tests: Comparison) -> Confirmation:
    claim = Claim(5, 0.9, {"es": -0.1}, -1.0, 0.01, 0.01, model_trusted=True, held_out=held_out, confirmed=confirmed)
    return Confirmation(comparison(FOUND), Choice.of({ONE: claim}), {}, {}, tests, None)


@pytest.fixture
def outcome() -> SearchOutcome:
    rules = dict.fromkeys(("es", "pt"), Rule("baseline", 0.01, 0.01))
    best = TrialFigures("search-0", {}, {"gl": 0.6, "es": 0.0556, "pt": 0.06}, {"es": -0.44, "pt": -1.0}, 0.6)
    references = References(BASELINE, ORIGINAL, BASELINE, None)
    figures = {"references": references, "baseline_objective": 0.631, "best": best, "nearest": None, "pareto": []}
    counts = {"trials": 8, "feasible": 8, "failed": {}, "stopped": 0, "tables": {}, "settings": None}
    named = {"name": "a", "metric": "wer_normalized", "low_resource": ["gl"], "high_resource": ["es", "pt"]}
    return SearchOutcome(**named, **figures, **counts, state="found", label="capped WER", rules=rules)  # type: ignore[arg-type]


def test_a_confirmed_winner_is_said_with_its_evidence_and_what_it_costs_the_others(outcome: SearchOutcome) -> None:
    found = replace(outcome, confirmation=confirmation())
    assert plain_words(found) == (
        "Galician 63.1 → 59.0 % capped WER on held-out dev, baseline to winner, confirmed by held-out speech; es +0.8, "
        "pt -0.1: all within their limits by point estimates."
    )
    on_test = replace(outcome, confirmation=confirmation(held_out=False, test=comparison(FOUND | {"es": 0.075})))
    assert plain_words(on_test) == (
        "Galician 63.1 → 59.0 % capped WER on test, baseline to winner, confirmed by held-out speech and the trials "
        "together; es +2.5, pt -0.1: es 1.5 above its limit."
    )


def test_a_limit_counts_from_its_own_reference(outcome: SearchOutcome) -> None:
    rules = {"es": Rule("original", 0.0, 0.01), "pt": Rule(0.055, 0.0, 0.001)}
    found = replace(outcome, confirmation=confirmation(), rules=rules)
    assert plain_words(found).endswith("es 0.8 above its limit, pt 0.3 above its limit.")
    assert plain_words(replace(found, rules={})).endswith("confirmed by held-out speech.")


def test_where_nothing_is_confirmed_the_baseline_stays(outcome: SearchOutcome) -> None:
    found = replace(outcome, confirmation=confirmation(held_out=False, confirmed=False))
    assert plain_words(found) == (
        "Nothing is confirmed: the baseline stays, with Galician 63.1 % capped WER on held-out dev."
    )


def test_without_a_confirm_phase_it_is_one_trial_on_dev(outcome: SearchOutcome) -> None:
    assert plain_words(outcome) == (
        "Galician 63.1 → 60.0 % capped WER on dev, baseline to best trial, not confirmed; es +0.6, pt +0.0: all within "
        "their limits by point estimates."
    )
    assert outcome.best is not None
    worse = replace(outcome, best=replace(outcome.best, objective=0.65))
    nothing = "Nothing better than the baseline was found, with Galician 63.1 % capped WER on dev."
    assert plain_words(worse) == nothing
    assert plain_words(replace(outcome, best=None)) == (
        "No trial keeps all limits: the baseline stays, with Galician 63.1 % capped WER on dev."
    )


def test_a_code_of_the_user_s_own_stands_for_itself_and_names_are_told_apart(outcome: SearchOutcome) -> None:
    own = {"gl-cv17": 0.5, "jw": 0.4, "jv": 0.3}
    references = References(own, own, own, None)
    best = TrialFigures("search-0", {}, own, {}, 0.4)
    found = replace(outcome, low_resource=list(own), references=references, best=best, rules={})
    assert plain_words(found).startswith(
        "gl-cv17 50.0 → 50.0 % capped WER, Javanese (jw) 40.0 → 40.0 % capped WER, Java"
    )


def test_several_languages_have_their_own_names_and_rates(outcome: SearchOutcome) -> None:
    both = replace(outcome, low_resource=["gl", "pt"], marks={"gl": "WER", "pt": "CER"})
    assert plain_words(both).startswith("Galician 63.1 → 60.0 % capped WER, Portuguese 6.0 → 6.0 % capped CER on dev, ")
