from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from raywce.screen.confirmation import candidate_line, finding, show_confirmation, taken
from raywce.selection.averages import Averaged
from raywce.selection.candidates import Candidate, Known
from raywce.selection.comparison import Choice, Claim, Comparison, Interval, ModelFigures
from raywce.selection.outcome import Confirmation, PlainConfirmation
from raywce.selection.robustness import Measures, RobustnessFigures
from tests.screen.readable import LANGUAGES, check, printed

ALL = [*LANGUAGES["low"], *LANGUAGES["high"], *LANGUAGES["watched"]]
SAFE, BOLD = "candidate-1", "candidate-2"


def each(value: float, low: float, high: float) -> Mapping[str, Interval]:
    return {language: Interval(value, low, high) for language in ALL}


@pytest.fixture
def comparison() -> Comparison:
    change, identified = each(-0.1234, -0.1567, -0.0901), dict.fromkeys(ALL, 0.987)
    original = ModelFigures(0, each(1.2345, 1.1234, 1.3456), None, None, None, identified)
    baseline = ModelFigures(6, each(0.2345, 0.2012, 0.2678), change, None, None, identified)
    own = ModelFigures(5, each(0.1111, 0.0999, 0.1222), change, change, change["gl"], identified)
    speakers, watched = dict.fromkeys(ALL, 12), LANGUAGES["watched"]
    return Comparison(0.95, original, baseline, {SAFE: own, BOLD: own}, speakers, ["ast"], watched=watched)


@pytest.fixture
def found(comparison: Comparison) -> Confirmation:
    bounds = dict(zip(LANGUAGES["high"], (-0.12, -0.34, -12.34, -1.5), strict=True))
    claims = {
        SAFE: Claim(6, 0.8765, bounds, -1.2, 0.000123, 1.23e-6, model_trusted=True, held_out=True, confirmed=True),
        BOLD: Claim(3, 0.3, bounds, -2.3, 0.123, 0.123, model_trusted=False, held_out=False, confirmed=False),
    }
    return Confirmation(comparison, Choice.of(claims), {}, {}, {"test": comparison, "broadcast": comparison}, None)


def changed(found: Confirmation, candidate: str, **claim: object) -> Confirmation:
    claims = {**found.choice.claims, candidate: replace(found.choice.claims[candidate], **claim)}
    return replace(found, choice=Choice.of(claims))


def test_all_tables_can_be_read_at_80_columns(found: Confirmation, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(monkeypatch, lambda: show_confirmation(found))
    assert lines[0] == finding(found)
    check(
        lines[1:],
        "candidate seeds chance held-out speech p with the trials p",
        "candidate-1 6 88 % yes 0.000123 yes 1.23e-06",
        "candidate-2 3 30 % not shown 0.123 not shown 0.123",
        f"{SAFE} on dev, speakers held out of the search, 5 seeds, 6 of the baseline:",
        "WER in %, 95 % intervals; *: watched",
        "yue* 123.45 [112.34, 134.56] 23.45 [20.12, 26.78] 11.11 [9.99, 12.22]",
        "it* -12.34 [-15.67, -9.01] -12.34 [-15.67, -9.01] 98.7 %",
        "language original baseline candidate",
        "ast 123.45 [112.34, 134.56] 23.45 [20.12, 26.78] 11.11 [9.99, 12.22]",
        "Change of the WER in points, 95 % intervals",
        "es -12.34 [-15.67, -9.01] -12.34 [-15.67, -9.01] -0.34 98.7 %",
        f"{SAFE} on broadcast:",
    )
    assert sum("123.45" in line for line in lines) == 3 * len(ALL)


def test_a_candidate_is_printed_with_its_chance() -> None:
    known = Known([-0.1], [0.1], [True])
    one = Candidate(SAFE, {"weighting.alpha": 2.34567, "a.kind": "b"}, 0.812, with_model=False, known=known)
    chance = "the search expects %s to confirm it with a probability of 81 %%"
    line = f"candidate-1: weighting.alpha = 2.346, a.kind = b; {chance}"
    assert candidate_line(one) == line % "held-out speech"
    assert candidate_line(replace(one, with_model=True)) == line % "both parts of dev"


CHANGE = "-12.34 [-15.67, -9.01] points of low-resource WER compared with the baseline"
BEATS = "keeps all limits and beats the baseline with 95 % confidence"


def test_the_finding_says_by_what_it_is_confirmed_the_stronger_first(found: Confirmation) -> None:
    assert finding(found) == f"Confirmed by held-out speech: {SAFE} {BEATS}: {CHANGE}."
    both = changed(found, BOLD, confirmed=True, model_trusted=True)
    assert (
        finding(both) == f"{finding(found)} Confirmed by held-out speech and the trials together: {BOLD} too, {CHANGE}."
    )
    assert finding(changed(found, SAFE, held_out=False)) == (
        f"Confirmed by held-out speech and the trials together: {SAFE} {BEATS}: {CHANGE}. "
        "By held-out speech alone it is not shown."
    )


def test_where_nothing_is_confirmed_the_finding_says_what_is_missing(found: Confirmation) -> None:
    def lacks(**claim: object) -> str:
        sentence = finding(changed(found, SAFE, held_out=False, confirmed=False, **claim))
        begin = f"Nothing confirmed: no candidate {BEATS}. The nearest is {SAFE}: "
        assert sentence.startswith(begin)
        return sentence.removeprefix(begin)

    assert lacks(bounds={"pt": 1.5, "es": 0.2}) == "pt may be 1.50 points above its limit."
    assert lacks(gain_bound=0.25) == "its low-resource WER may be 0.25 points above the baseline's."
    holds = {"bounds": {"pt": -0.5, "es": -0.2}, "gain_bound": -1.0}
    together = "held-out speech and the search's trials together do not show it"
    assert lacks(**holds, p_held_out=0.04, p_with_model=0.1) == f"{together} (p 0.1)."
    failed = changed(found, SAFE, held_out=False, confirmed=False, p_with_model=0.7)
    bold = changed(failed, BOLD, held_out=False, confirmed=False, **holds, p_held_out=0.02, p_with_model=0.01)
    assert finding(bold).endswith(f"is {BOLD}: a safer candidate is not confirmed, and so it is not tested.")
    assert finding(replace(found, choice=Choice.of({}))) == "Nothing confirmed: every candidate failed."


AVERAGE = Averaged(
    candidate=SAFE,
    seeds=5,
    dev=Comparison(0.95, *[ModelFigures(0, {}, None, None, None, {})] * 2, {}, {}, []),
    bounds={"es": -0.5, "pt": -1.5},
    gain_bound=-2.0,
    p=0.01,
    confirmed=True,
    effect=Interval(-0.011, -0.028, 0.006),
    tests={},
)


def test_the_model_that_is_taken_is_the_average_where_it_is_confirmed_itself(
    found: Confirmation, comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    averaged = replace(AVERAGE, dev=comparison, tests={"test": comparison})
    of = replace(found, averaged=averaged)
    assert taken(found) == ""
    beside = (
        "Compared with the average of as many of the baseline's trainings, the average changes by"
        " -12.34 [-15.67, -9.01] points of low-resource WER."
    )
    alone = "Averaging alone changes the baseline by -1.10 [-2.80, +0.60] points."
    itself = "which is confirmed by held-out speech itself."
    assert taken(of) == f"The model to take is the average of {SAFE}'s 5 trainings, {itself} {beside} {alone}"
    lines = printed(monkeypatch, lambda: show_confirmation(of))
    assert f"{SAFE} on dev, speakers held out of the search, averages of both:" in lines
    assert f"{SAFE} on test, averages of both:" in lines
    assert of.taken == averaged

    broken = replace(found, averaged=replace(averaged, confirmed=False, bounds={"es": 0.8, "pt": -1.5}))
    why = f"the average of {SAFE}'s 5 trainings is not confirmed itself (es may be 0.80 points above its limit)"
    assert taken(broken) == f"The model to take is that of {SAFE}'s first seed: {why}. {beside} {alone}"
    assert broken.taken is None


def test_a_verdict_by_the_plain_rate_is_said_where_it_is_another(found: Confirmation) -> None:
    def by_plain(confirmation: Confirmation, **claim: object) -> str:
        plain = changed(confirmation, SAFE, **claim).choice
        of = replace(confirmation, plain=PlainConfirmation(confirmation.dev, plain, {}))
        return finding(of).removeprefix(finding(confirmation)).strip()

    assert by_plain(found) == ""
    assert (
        by_plain(found, held_out=False)
        == "By the plain WER, candidate-1 is confirmed by held-out speech and the trials together."
    )
    assert by_plain(found, held_out=False, confirmed=False) == "By the plain WER, candidate-1 is not confirmed."
    nothing = changed(found, SAFE, held_out=False, confirmed=False)
    assert (
        by_plain(nothing, held_out=True, confirmed=True)
        == "By the plain WER, candidate-1 is confirmed by held-out speech."
    )


def test_with_a_mark_at_each_language_the_tables_are_as_readable(
    found: Confirmation, comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = {language: "CER" if language == "yue" else "WER" for language in ALL}
    names = {"label": "capped WER or CER", "objective_label": "relative low-resource error rate", "marks": marks}
    mixed = replace(found, dev=replace(comparison, **names), tests={})  # type: ignore[arg-type]
    lines = printed(monkeypatch, lambda: show_confirmation(mixed))
    assert any(line.startswith("Change of the capped WER or CER in points, 95 % intervals") for line in lines)
    check(
        [line for line in lines[1:] if not line.startswith("Change of")],  # titles may be longer
        "capped WER or CER in %, 95 % intervals; *: watched",
        "yue CER* 123.45 [112.34, 134.56] 23.45 [20.12, 26.78] 11.11 [9.99, 12.22]",
        "es WER -12.34 [-15.67, -9.01] -12.34 [-15.67, -9.01] -0.34 98.7 %",
    )
    assert "-12.34 [-15.67, -9.01] points of relative low-resource error rate compared" in finding(mixed)
    unsure = changed(mixed, SAFE, held_out=False, confirmed=False, gain_bound=0.5)
    safe_bounds = changed(unsure, BOLD, p_with_model=1.0)
    assert "its relative low-resource error rate may be 0.50 points above the baseline's" in finding(safe_bounds)


def test_robustness_is_a_table_and_what_it_breaks_is_said(found: Confirmation, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {
        name: dict.fromkeys(ALL, Measures(0.5, 0.12345, 1.23456, 0.01, share, None))
        for name, share in {"original": 0.987, "average-baseline": 0.876, "average-candidate-1": 0.765}.items()
    }
    broken = ["gl: utterances whose language is recognised 87.60 → 76.50 %, by 11.1 points worse where 5 are allowed"]
    robust = replace(found, robustness=RobustnessFigures(models, "average-candidate-1", broken, ["es: loops"]))
    lines = printed(monkeypatch, lambda: show_confirmation(robust))
    check(
        lines[1:],
        "measure language original baseline winner",
        "gl 98.70 87.60 76.50",
        "gl 123.46 123.46 123.46",
    )
    assert not any("time stamps" in line for line in lines), "not measured"
    assert f"It breaks a limit of robustness: {broken[0]}." in finding(robust)
    assert "Limits of robustness that nothing was measured for: es: loops." in lines
    assert robust.breaks == broken
    assert found.breaks == []
