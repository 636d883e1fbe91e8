from __future__ import annotations

from dataclasses import replace

import pytest

from raywce.selection.candidates import STEPS, WORTH, known_at, propose
from raywce.selection.limits import Rule
from tests.selection.test_acquisition import CUBE, PLAN, draws, found
from tests.selection.test_search_model import model as fitted
from tests.selection.test_search_model import world

WIDE = Rule("baseline", 0.0, 0.025)


def test_candidates_go_from_safe_to_bold() -> None:
    model, tried = fitted(world((WIDE, WIDE), low=1))
    proposed = propose(model, CUBE, tried, PLAN, draws())
    assert len(proposed) == len(STEPS)
    assert [one.with_model for one in proposed] == [False, True, True]
    for one, (chance, with_model) in zip(proposed, STEPS, strict=True):
        assert one.chance >= chance
        assert one.chance == pytest.approx(model.chance(one.row[None], PLAN, with_model)[0])
    lows = [one.objective for one in proposed]
    assert lows == sorted(lows, reverse=True)
    assert lows[-1] == pytest.approx(model.excesses(proposed[-1].row[None]).mean[0, -1])


def test_the_first_stays_though_nothing_is_as_sure_and_bolder_ones_that_are_out_of_reach_do_not() -> None:
    model, tried = found()
    (only,) = propose(model, CUBE, tried, PLAN, draws(), [(1.0, False), (1.0, True)])
    assert only.chance < 1
    assert only.chance == pytest.approx(model.chance(CUBE.drawn(5000, draws()), PLAN, False).max(), abs=0.02)


def test_where_held_out_speech_is_hopeless_it_is_the_surest_by_both_halves() -> None:
    model, tried = found()
    few = replace(PLAN, seeds=1, baseline_seeds=1, confidence=0.9999, speech=20.0)
    drawn = CUBE.drawn(5000, draws())
    assert model.chance(drawn, few, False).max() < WORTH
    (only,) = propose(model, CUBE, tried, few, draws(), [(0.8, False), (1.0, True)])
    assert only.with_model
    assert only.chance == pytest.approx(model.chance(drawn, few, True).max(), abs=0.02)


def test_one_that_lowers_the_rate_no_further_is_left_out() -> None:
    model, tried = found()
    assert len(propose(model, CUBE, tried, PLAN, draws(), [(0.3, True), (0.8, True)])) == 1


def test_one_that_can_not_be_told_from_the_one_before_is_left_out() -> None:
    model, tried = fitted(world((WIDE, WIDE), low=1))
    assert len(propose(model, CUBE, tried, PLAN, draws(), [(0.8, True), (0.79, True)])) == 1
    assert len(propose(model, CUBE, tried, PLAN, draws(), [(0.8, True), (0.4, True)])) == 2


def test_a_grid_has_no_setting_but_its_own() -> None:
    model, tried = found()
    proposed = propose(model, CUBE, tried, PLAN, draws(), only_known=True)
    assert all((one.row == tried).all(axis=1).any() for one in proposed)
    assert len({one.row.tobytes() for one in proposed}) == len(proposed)


def test_what_is_known_of_a_candidate_is_what_the_model_says() -> None:
    model, tried = found()
    known = known_at(model, tried[0])
    mean, variance = model.evidence(tried[:1])
    assert known.difference.mean == pytest.approx(mean[0])
    assert known.difference.variance == pytest.approx(variance[0])
    assert (known.fit == model.fits()).all()
    assert isinstance(known.fits[0], bool)
