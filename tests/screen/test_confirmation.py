from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from raywce.screen.confirmation import finding, show_confirmation
from raywce.selection.comparison import Choice, Claim, Comparison, Interval, ModelFigures
from raywce.selection.outcome import Confirmation
from tests.screen.readable import LANGUAGES, TRIAL, check, printed

ALL = [*LANGUAGES["low"], *LANGUAGES["high"], *LANGUAGES["watched"]]
OTHER = "search-113-0a9b8c"


def each(value: float, low: float, high: float) -> Mapping[str, Interval]:
    return {language: Interval(value, low, high) for language in ALL}


@pytest.fixture
def comparison() -> Comparison:
    change, identified = each(-0.1234, -0.1567, -0.0901), dict.fromkeys(ALL, 0.987)
    original = ModelFigures(each(1.2345, 1.1234, 1.3456), None, None, None, identified)
    baseline = ModelFigures(each(0.2345, 0.2012, 0.2678), change, None, None, identified)
    own = ModelFigures(each(0.1111, 0.0999, 0.1222), change, change, change["gl"], identified)
    speakers, watched = dict.fromkeys(ALL, 12), LANGUAGES["watched"]
    return Comparison(0.95, 5, original, baseline, {TRIAL: own, OTHER: own}, speakers, ["ast"], watched=watched)


@pytest.fixture
def found(comparison: Comparison) -> Confirmation:
    bounds = dict(zip(LANGUAGES["high"], (-0.12, 0.34, -12.34, 1.5), strict=True))
    claims = {
        TRIAL: Claim(bounds, 0.000123, 0.00456, keeps_limits=True, better=True),
        OTHER: Claim(bounds, 0.123, 1.0, keeps_limits=False, better=False),
    }
    return Confirmation(comparison, Choice(TRIAL, claims), {}, {}, {"test": comparison, "broadcast": comparison}, None)


def test_all_tables_can_be_read_at_80_columns(found: Confirmation, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(monkeypatch, lambda: show_confirmation(found))
    assert lines[0] == finding(found)
    check(
        lines[1:],
        "candidate keeps all limits p beats the baseline p",
        "search-000-fe223b yes 0.000123 yes 0.00456",
        f"{TRIAL} on dev, speakers held out of the search, 5 seeds:",
        "WER in %, 95 % intervals; *: watched",
        "yue* 123.45 [112.34, 134.56] 23.45 [20.12, 26.78] 11.11 [9.99, 12.22]",
        "it* -12.34 [-15.67, -9.01] -12.34 [-15.67, -9.01] 98.7 %",
        "language original baseline candidate",
        "ast 123.45 [112.34, 134.56] 23.45 [20.12, 26.78] 11.11 [9.99, 12.22]",
        "Change of the WER in points, 95 % intervals",
        "es -12.34 [-15.67, -9.01] -12.34 [-15.67, -9.01] +0.34 98.7 %",
        f"{TRIAL} on broadcast:",
    )
    assert sum("123.45" in line for line in lines) == 3 * len(ALL)


def test_the_finding_is_a_sentence(found: Confirmation) -> None:
    change = "-12.34 [-15.67, -9.01] points of low-resource WER compared with the baseline"
    claims = found.choice.claims
    assert finding(found) == (
        f"Confirmed: {TRIAL} keeps all limits and is better than the baseline with 95 % confidence: {change}."
    )
    not_better = {TRIAL: replace(claims[TRIAL], better=False)}
    assert finding(replace(found, choice=Choice(TRIAL, not_better))) == (
        f"{TRIAL} keeps all limits with 95 % confidence, but is not better than the baseline with confidence: {change}."
    )
    assert "The nearest is search-000-fe223b: pt may be 1.50 points above its limit." in finding(
        replace(found, choice=Choice(None, claims))
    )
    assert finding(replace(found, choice=Choice(None, {}))) == "Nothing confirmed: every candidate failed."
