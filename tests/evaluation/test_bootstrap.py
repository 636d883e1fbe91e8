from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from raywce.evaluation.bootstrap import resampled_rates

RANDOM = np.random.default_rng(3)
WORDS = RANDOM.integers(4, 15, 60)
ERRORS = RANDOM.binomial(WORDS, 0.2, (2, 60))


def test_the_spread_is_that_of_scipys_bootstrap() -> None:
    ours = resampled_rates(ERRORS[0], WORDS, resamples=20_000, seed=0)
    peer = stats.bootstrap(
        (ERRORS[0], WORDS),
        lambda errors, words, axis: errors.sum(axis) / words.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    assert ours.std() == pytest.approx(peer.standard_error, rel=0.03)
    assert np.quantile(ours, [0.025, 0.975]) == pytest.approx(list(peer.confidence_interval), rel=0.02)


def test_models_are_drawn_together_and_draws_follow_from_the_seed() -> None:
    both = resampled_rates(ERRORS, WORDS, resamples=500, seed=0)
    assert both.shape == (2, 500)
    assert np.array_equal(both[1], resampled_rates(ERRORS[1], WORDS, resamples=500, seed=0))
    shifted = resampled_rates(ERRORS + WORDS, WORDS, resamples=500, seed=0)
    assert shifted == pytest.approx(both + 1)  # the same words in each draw
    assert not np.array_equal(both, resampled_rates(ERRORS, WORDS, resamples=500, seed=1))


def test_parts_of_the_draws_are_what_they_are_together(monkeypatch: pytest.MonkeyPatch) -> None:
    together = resampled_rates(ERRORS, WORDS, resamples=50, seed=0)
    monkeypatch.setattr("raywce.evaluation.bootstrap._DRAWS_AT_ONCE", 7 * 60)
    assert np.array_equal(together, resampled_rates(ERRORS, WORDS, resamples=50, seed=0))


def test_a_group_is_drawn_whole() -> None:
    groups = np.repeat(["a", "b"], 30)
    number = np.unique(groups, return_inverse=True)[1]
    found = set(resampled_rates(ERRORS[0], WORDS, number, resamples=200, seed=0).round(12))
    a, b = (ERRORS[0][groups == name].sum() for name in "ab")
    m, n = (WORDS[groups == name].sum() for name in "ab")
    assert found == {round(rate, 12) for rate in (a / m, b / n, (a + b) / (m + n))}


def test_groups_of_one_are_utterances() -> None:
    by_group = resampled_rates(ERRORS, WORDS, np.arange(60), resamples=100, seed=0)
    assert np.array_equal(by_group, resampled_rates(ERRORS, WORDS, resamples=100, seed=0))


@pytest.mark.timeout(60)
def test_ten_thousand_resamples_of_two_thousand_utterances_take_seconds() -> None:
    words = np.full(2_000, 10)
    rates = resampled_rates(np.ones((4, 2_000), int), words, resamples=10_000, seed=0)
    assert rates.shape == (4, 10_000)
    assert rates == pytest.approx(0.1)
