from __future__ import annotations

import numpy as np
import pytest

from raywce.evaluation.confidence import Measurement
from raywce.selection.claims import NONE, claims
from raywce.selection.limits import Rule


def test_an_excess_by_hand() -> None:
    rule = Rule("baseline", tolerance=0.05, floor=0.005)
    assert rule.excess(np.array(0.22), np.array(0.20)) == pytest.approx(0.01)  # the tolerance is larger
    assert rule.excess(np.array(0.22), np.array(0.05)) == pytest.approx(0.165)  # the floor is


def certain(*values: float) -> Measurement:
    """Figures without any variance."""
    found = np.array(values)
    return Measurement(found, np.repeat(found[:, None], 3, 1), np.zeros(len(values)), np.full(len(values), 50.0))


def test_the_lowest_wer_among_those_that_keep_every_limit_wins() -> None:
    found = claims([certain(-1, -1, -1), certain(-1, 1, -1)], certain(-0.1, -0.3, -0.2), np.array([0.4, 0.2, 0.3]))
    assert found.keeps.tolist() == [0, 1, 0]
    assert found.winner(0.95) == 2


def test_there_may_be_no_winner_and_one_that_is_not_better() -> None:
    assert claims([certain(1, 1)], certain(-1, -1), np.array([0.1, 0.2])).winner(0.95) == NONE
    worse = claims([certain(-1)], certain(0.1), np.array([0.5]))
    assert worse.winner(0.95) == 0
    assert worse.better.tolist() == [1]


def test_each_of_several_candidates_must_do_more() -> None:
    one = Measurement(np.array([-2.0]), np.array([[-2.0, -2.0, -2.0]]), np.array([1.0]), np.array([1000.0]))
    three = Measurement(
        *(np.repeat(part, 3, 0) for part in (one.value, one.by_seed, one.speech_variance, one.speech_df))
    )
    alone = claims([one], one, np.array([0.3])).keeps
    assert alone == pytest.approx([0.0229], abs=5e-4)
    assert claims([three], three, np.array([0.3, 0.3, 0.3])).keeps == pytest.approx(3 * np.repeat(alone, 3))


def test_without_constraints_every_candidate_keeps_them() -> None:
    assert claims([], certain(-0.1, -0.2), np.array([0.4, 0.3])).winner(0.95) == 1
