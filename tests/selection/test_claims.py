from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from raywce.evaluation.confidence import Estimate
from raywce.selection.claims import Evidence, Looks, State, confirmed, evidence, halves_agree, joined
from raywce.selection.limits import Rule
from raywce.selection.search_model import Difference

SURE = 10**6  # degrees of freedom with which Student's quantiles are the normal's


def test_an_excess_by_hand() -> None:
    rule = Rule("baseline", tolerance=0.05, floor=0.005)
    assert rule.excess(np.array(0.22), np.array(0.20)) == pytest.approx(0.01)  # the tolerance is larger
    assert rule.excess(np.array(0.22), np.array(0.05)) == pytest.approx(0.165)  # the floor is


def held_out(*values: float, variance: float = 1.0) -> Estimate:
    count = len(values)
    half = np.full(count, variance / 2)
    return Estimate(np.array(values), half, np.full(count, float(SURE)), half, SURE)


def known(*means: float, variance: float = 1.0) -> Difference:
    return Difference(np.array(means), np.full(len(means), variance))


ALL_FIT = np.array([True, True])


def test_every_claim_has_to_hold() -> None:
    found = evidence(held_out(-2.0, -1.0), known(-2.0, -1.0), ALL_FIT)
    assert found.held_out == pytest.approx(stats.norm.cdf(-1.0), rel=1e-3)
    assert found.with_model == pytest.approx(stats.norm.cdf(-1.0 * np.sqrt(2)), rel=1e-3)  # half of the variance
    assert found.trusted


def test_the_halves_count_by_their_precision() -> None:
    both = joined(held_out(-1.0, variance=1.0), known(-4.0, variance=3.0))
    assert both.value == pytest.approx((-1.0 * 3 + -4.0) / 4)
    assert both.standard_error**2 == pytest.approx(3 / 4)  # 1 / (1 / 1 + 1 / 3)


def test_a_model_that_promises_more_than_held_out_speech_shows_is_not_believed() -> None:
    assert halves_agree(held_out(0.0, 0.0, 0.0), known(-2.8, -2.9, 5.0)).tolist() == [True, False, True]
    found = evidence(held_out(-1.0, 0.0), known(-1.0, -4.0), ALL_FIT)
    assert not found.trusted
    assert found.with_model == pytest.approx(0.5, rel=1e-3)


def test_a_model_that_does_not_fit_is_not_believed() -> None:
    found = evidence(held_out(-1.0, -2.0), known(-1.0, -2.0), np.array([False, True]))
    assert not found.trusted
    assert found.with_model == pytest.approx(found.held_out)


def test_the_bounds_of_two_looks_are_the_published_ones() -> None:
    """O'Brien & Fleming's by Lan & DeMets, two looks, one-sided 0.025: z of 2.963 and 1.969 (Jennison & Turnbull)."""
    first, last = (stats.norm.isf(p) for p in Looks(6, 0.975).bounds)
    assert (first, last) == (pytest.approx(2.963, abs=0.002), pytest.approx(1.969, abs=0.002))


@pytest.mark.parametrize(("trainings", "first"), [(3, 2), (4, 2), (5, 3), (6, 3)])
def test_the_first_look_is_by_half_of_the_trainings(trainings: int, first: int) -> None:
    assert Looks(trainings, 0.95).first == first


@pytest.mark.parametrize(("trainings", "confidence"), [(6, 0.95), (5, 0.95), (3, 0.9)])
def test_both_looks_together_keep_the_level(trainings: int, confidence: float) -> None:
    looks = Looks(trainings, confidence)
    draws = np.random.default_rng(0).standard_normal((trainings, 400_000)).cumsum(axis=0)
    z = [draws[count - 1] / np.sqrt(count) for count in (looks.first, trainings)]
    false = (z[0] > stats.norm.isf(looks.bounds[0])) | (z[1] > stats.norm.isf(looks.bounds[1]))
    assert false.mean() == pytest.approx(1 - confidence, abs=0.0015)


LOOKS = Looks(6, 0.95)


def test_a_candidate_is_decided_at_the_first_look_or_at_the_second() -> None:
    found = LOOKS.states([0.001, 0.02, 0.02, 0.8], [0.5, 0.04, 0.06, 0.001])
    assert found == [State.CONFIRMED, State.CONFIRMED, State.FAILED, State.FAILED]


@pytest.mark.parametrize(
    ("states", "count"),
    [([], 0), (["CONFIRMED"] * 3, 3), (["CONFIRMED", "FAILED", "CONFIRMED"], 1), (["OPEN", "CONFIRMED"], 0)],
)
def test_bolder_candidates_need_the_safer_ones(states: list[str], count: int) -> None:
    assert confirmed([State[name] for name in states]) == count


def test_only_what_can_still_be_decided_is_trained_further() -> None:
    def wants(*pairs: tuple[float, float]) -> list[bool]:
        return LOOKS.wants_more([Evidence(alone, both, True) for alone, both in pairs])

    assert wants((0.001, 0.001), (0.03, 0.001), (0.2, 0.03)) == [False, True, True]
    assert wants((0.6, 0.001), (0.03, 0.001)) == [False, False], "by held-out speech the first has failed"
    assert wants((0.03, 0.6), (0.03, 0.03)) == [False, False], "by both halves it has"
    assert wants((0.6, 0.6), (0.03, 0.03)) == [False, False]
    assert wants() == []


def test_what_held_out_speech_confirms_counts_where_both_halves_do() -> None:
    def counts(*pairs: tuple[float, float]) -> tuple[int, int]:
        found = [Evidence(alone, both, True) for alone, both in pairs]
        return LOOKS.confirmed(found, found)

    assert counts((0.001, 0.001), (0.2, 0.001)) == (1, 2)
    assert counts((0.001, 0.2), (0.001, 0.001)) == (0, 0), "either would be wrong more often than one"
