"""A language that is not trained on and becomes worse: what is said of it with a limit and without one."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pytest

from raywce.experiment.schema import Experiment
from raywce.selection.candidates import Candidate, Known
from raywce.selection.comparison import (
    Choice,
    Claim,
    Decoded,
    choose,
    compare,
    evidence_at,
    no_gain,
    side_by_side,
)
from tests.experiment.example import changed
from tests.search.decoded_tables import decoded

SEEDS = (1, 2, 3)
ORIGINAL = decoded({"gl": 0.60, "es": 0.20, "it": 0.10})
BASELINE = [decoded({"gl": 0.50, "es": 0.20, "it": 0.20}, seed) for seed in SEEDS]
RUINED = [decoded({"gl": 0.30, "es": 0.15, "it": 0.40}, seed) for seed in SEEDS]
MILD = [decoded({"gl": 0.40, "es": 0.15, "it": 0.16}, seed) for seed in SEEDS]
DECODED = Decoded(ORIGINAL, BASELINE, {"mild": MILD, "ruined": RUINED})


def candidates(*limits: float, gain: float = 0.0, variance: float = 1.0) -> dict[str, Candidate]:
    """What the search knows of both: hardly anything, unless told."""
    mean = [*limits, gain]
    known = Known(mean, [variance] * len(mean), [True] * len(mean))
    return {name: Candidate(name, {}, 0.5, with_model=True, known=known) for name in DECODED.candidates}


def chosen(experiment: Experiment, decoded: Decoded = DECODED, **known: float) -> Choice:
    limits = [0.0] * len(experiment.limited_languages)
    return choose(decoded, side_by_side(decoded, experiment), experiment, candidates(*limits, **known))


def watching(example: Path, *overrides: str) -> Experiment:
    languages = "languages={low_resource: [gl], high_resource: [es], watched: [it], language_tokens: {it: es}}"
    few = "search.confirm={resamples: 200, seeds: 3}"
    return changed(example, languages, few, *overrides, check_files=False).experiment


def test_without_a_limit_it_is_shown_and_claims_nothing(example: Path) -> None:
    experiment = watching(example)
    sides = side_by_side(DECODED, experiment)
    choice = chosen(experiment)
    assert choice.winner == choice.held_out == "ruined"
    assert list(choice.claims["ruined"].bounds) == ["es"]
    found = compare(DECODED, sides, experiment)
    assert found.watched == ["it"]
    for figures, wer in ((found.original, 0.10), (found.baseline, 0.20), (found.candidates["ruined"], 0.40)):
        assert figures.wer["it"].value == pytest.approx(wer, abs=0.002)
        assert figures.wer["it"].low < figures.wer["it"].value < figures.wer["it"].high
    assert found.candidates["ruined"].against_original["it"].value == pytest.approx(0.30, abs=0.002)


@pytest.mark.parametrize(
    ("limit", "winner"),
    [
        ("{}", "mild"),  # the general one: the baseline, and half a point
        ("{absolute_floor: 30}", "ruined"),
        ("{reference: original}", None),
    ],
)
def test_with_a_limit_it_stops_a_winner(example: Path, limit: str, winner: str | None) -> None:
    experiment = watching(example, f"search.constraints.languages={{it: {limit}}}")
    choice = chosen(experiment)
    assert choice.winner == winner
    assert list(choice.claims["mild"].bounds) == ["es", "it"]
    if winner is None:
        assert choice.claims["ruined"].worst[0] == "it"
        assert choice.nearest == "mild"


def test_bolder_candidates_count_only_after_safer_ones(example: Path) -> None:
    experiment = watching(example, "search.constraints.languages={it: {}}")
    turned = Decoded(ORIGINAL, BASELINE, {"ruined": RUINED, "mild": MILD})
    choice = chosen(experiment, turned)
    assert choice.claims["mild"].p_held_out < 0.001
    assert choice.winner is None


def test_what_the_search_knows_may_confirm_what_held_out_speech_alone_does_not(example: Path) -> None:
    """30 speakers do not show that half a point is kept."""
    experiment = watching(example, "search.constraints={absolute_floor: 0.5}")
    as_before = [decoded({"gl": 0.40, "es": 0.20, "it": 0.16}, 10 + seed) for seed in SEEDS]
    found = Decoded(ORIGINAL, BASELINE, {"mild": as_before})
    sides = side_by_side(found, experiment)

    def claim(mean: float, fits: bool = True) -> Claim:
        known = Known([mean, -0.1], [1e-6, 1e-4], [fits, True])
        of = {"mild": Candidate("mild", {}, 0.5, with_model=True, known=known)}
        return choose(found, sides, experiment, of).claims["mild"]

    assert (claim(-0.006).confirmed, claim(-0.006).held_out, claim(-0.006).model_trusted) == (True, False, True)
    assert not claim(0.001).confirmed
    assert not claim(-0.006, fits=False).confirmed
    assert not claim(-0.3).model_trusted, "it promises what held-out speech does not show"


def test_a_candidate_that_half_of_the_seeds_decided_has_no_others(example: Path) -> None:
    experiment = watching(example)
    two = Decoded(ORIGINAL, BASELINE, {"mild": MILD[:2], "ruined": RUINED})
    choice = chosen(experiment, two)
    assert choice.claims["mild"].seeds == 2
    assert choice.winner == "ruined"
    found = compare(two, side_by_side(two, experiment), experiment)
    assert [one.seeds for one in (found.original, found.baseline, *found.candidates.values())] == [0, 3, 2, 3]


def by_seed(*of_gl: float, first: int = 0) -> list[pa.Table]:
    """Trainings whose Galician differs."""
    return [decoded({"gl": rate, "es": 0.20, "it": 0.16}, first + seed) for seed, rate in enumerate(of_gl)]


def test_a_first_look_is_by_the_first_trainings_and_the_last_by_all(example: Path) -> None:
    languages = "languages={low_resource: [gl], high_resource: [es], watched: [it], language_tokens: {it: es}}"
    confirm = "search.confirm={resamples: 500, seeds: 4}"
    wide = "search.constraints={absolute_floor: 30}"
    experiment = changed(example, languages, confirm, wide, check_files=False).experiment
    baseline = by_seed(0.50, 0.505, 0.50, 0.495)

    def evidence(tables: list[pa.Table], seeds: int | None) -> float:
        found = Decoded(ORIGINAL, baseline, {"mild": tables})
        return evidence_at(found, side_by_side(found, experiment), experiment, of, seeds)[0].held_out

    def shown(tables: list[pa.Table]) -> float:
        found = Decoded(ORIGINAL, baseline, {"mild": tables})
        return choose(found, side_by_side(found, experiment), experiment, of).claims["mild"].p_held_out

    of = {"mild": candidates(10.0, gain=10.0, variance=1e6)["mild"]}
    lucky, unlucky = by_seed(0.30, 0.30, 0.62, 0.64, first=10), by_seed(0.62, 0.64, 0.30, 0.30, first=10)
    assert evidence(lucky, 2) < 0.1
    assert evidence(unlucky, 2) > 0.5
    assert evidence(lucky, None) == pytest.approx(evidence(unlucky, None), abs=0.02)
    assert shown(lucky) == evidence(lucky, None), "with all trainings the last look is shown"
    assert shown(lucky[:2]) == evidence(lucky, 2), "with half of them the first"


def test_trainings_that_differ_widen_the_interval(example: Path) -> None:
    experiment = watching(example)

    def width(*of_gl: float) -> float:
        found = Decoded(ORIGINAL, BASELINE, {"mild": by_seed(*of_gl, first=10)})
        gain = compare(found, side_by_side(found, experiment), experiment).candidates["mild"].low_resource_gain
        assert gain is not None
        return gain.high - gain.low

    assert width(0.30, 0.40, 0.50) > 2 * width(0.40, 0.40, 0.40)


def test_the_rate_has_its_name_and_the_plain_one_is_a_lower_bound_where_loops_were_stopped(example: Path) -> None:
    experiment = watching(example)
    stopped = ORIGINAL.set_column(ORIGINAL.column_names.index("stopped"), "stopped", [[True] * len(ORIGINAL)])
    for original, experiment_, label in (
        (ORIGINAL, experiment, "capped WER"),
        (stopped, experiment, "capped WER"),
        (ORIGINAL, experiment.by_plain_rate, "WER"),
        (stopped, experiment.by_plain_rate, "WER (a lower bound)"),
    ):
        decoded_ = Decoded(original, BASELINE, {"mild": MILD})
        assert compare(decoded_, side_by_side(decoded_, experiment_), experiment_).label == label


def test_a_test_set_without_it_is_compared_all_the_same(example: Path) -> None:
    experiment = watching(example, "search.constraints.languages={it: {}}")
    rates = {"gl": 0.5, "es": 0.2}
    tables = [decoded(rates, seed) for seed in SEEDS]
    test = Decoded(decoded(rates), tables, {"mild": tables})
    found = compare(test, side_by_side(test, experiment), experiment)
    assert (list(found.original.wer), found.watched) == (["gl", "es"], [])


def test_a_gain_over_a_wer_and_a_cer_is_the_mean_of_relative_changes_on_the_same_speech(example: Path) -> None:
    languages = "languages={low_resource: [gl, ja], high_resource: [es], language_tokens: {ja: gl}}"
    few = "search.confirm={resamples: 200, seeds: 3}"
    experiment = changed(example, languages, few, "evaluation.metric=auto", check_files=False).experiment
    original = decoded({"gl": 0.70, "ja": 0.20, "es": 0.20})
    baseline = [decoded({"gl": 0.50, "ja": 0.10, "es": 0.20}, seed) for seed in SEEDS]
    # By the plain mean of the rates, the first is better than the baseline too.
    models = {"lopsided": {"gl": 0.45, "ja": 0.13, "es": 0.15}, "both": {"gl": 0.40, "ja": 0.07, "es": 0.15}}
    found = Decoded(original, baseline, {name: [decoded(of, seed) for seed in SEEDS] for name, of in models.items()})
    sides = side_by_side(found, experiment)
    comparison = compare(found, sides, experiment)
    assert (comparison.label, comparison.of_gain) == ("capped WER or CER", "relative low-resource error rate")
    assert comparison.marks == {"gl": "WER", "ja": "CER", "es": "WER"}
    for name, of in models.items():
        figures = comparison.candidates[name]
        assert figures.low_resource_gain.value == pytest.approx((of["gl"] / 0.5 + of["ja"] / 0.1) / 2 - 1, abs=0.02)
        assert figures.against_baseline["ja"].value == pytest.approx(of["ja"] - 0.1, abs=0.002), "points of its CER"
    known = {name: Candidate(name, {}, 0.5, True, Known([0.0, 0.0], [1.0, 1.0], [True] * 2)) for name in models}
    choice = choose(found, sides, experiment, {name: known[name] for name in models})
    assert choice.claims["lopsided"].gain_bound > 0
    assert choice.claims["both"].gain_bound < 0


def test_at_the_first_look_a_relative_change_is_that_from_the_baseline_of_then(example: Path) -> None:
    """What a first look said must not change when more of the baseline is trained."""
    languages = "languages={low_resource: [gl, ja], high_resource: [es], language_tokens: {ja: gl}}"
    few = "search.confirm={resamples: 200, seeds: 4, candidates: 1}"
    experiment = changed(example, languages, few, "evaluation.metric=auto", check_files=False).experiment
    rates = {"gl": 0.50, "ja": 0.10, "es": 0.20}
    better = {"gl": 0.40, "ja": 0.09, "es": 0.20}

    def at_first_look(*more: float) -> float:
        baseline = [decoded({of: rate + beyond for of, rate in rates.items()}, 7) for beyond in (0.0, 0.01, *more)]
        candidate = [decoded(better, seed) for seed in range(len(baseline))]
        sides = side_by_side(Decoded(decoded(rates), baseline, {"one": candidate}), experiment)
        return float(no_gain(sides, experiment.languages.low_resource, 2, seeds=2).value)

    assert at_first_look() == pytest.approx(at_first_look(0.2, 0.3))


def test_a_rate_of_few_errors_is_not_below_zero(example: Path) -> None:
    experiment = watching(example)
    original = decoded({"gl": 0.60, "es": 0.20, "it": 0.002})
    few = Decoded(original, BASELINE, {"mild": MILD})
    found = compare(few, side_by_side(few, experiment), experiment)
    assert 0 == found.original.wer["it"].low < found.original.wer["it"].value < found.original.wer["it"].high
    change = found.baseline.against_original
    assert change
    assert change["it"].low > 0.15


@pytest.mark.parametrize("reference", ["baseline", "5.0"])
@pytest.mark.parametrize("points", [0.2, 0.4, 0.6, 1.0])
def test_without_an_error_a_limit_is_kept_as_surely_as_so_many_words_say(
    example: Path, points: float, reference: str
) -> None:
    allowed = f"{{reference: {reference}, absolute_floor: {points}, relative_tolerance: 0}}"
    experiment = watching(example, f"search.constraints.languages={{it: {allowed}}}")
    perfect = {"gl": 0.4, "es": 0.15, "it": 0.0}
    seeds = [decoded(perfect, seed) for seed in SEEDS]
    side = side_by_side(Decoded(decoded(perfect), seeds, {"mild": seeds}), experiment)["it"]
    on_the_limit = points / 100 + (0.05 if reference == "5.0" else 0.0)
    no_error_by_chance = math.exp(-600 * on_the_limit)
    assert (float(side.excess(2).p_value()) < 0.05) == (no_error_by_chance < 0.05)
