from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from raywce.evaluation.confidence import Estimate, Speech, SpeechEstimate, over_speech

RANDOM = np.random.default_rng(5)
WORDS = RANDOM.integers(4, 15, 200)


def estimate(value: float, speech: float, df: float, seeds: float, seed_df: int) -> Estimate:
    return Estimate(np.array(value), np.array(speech), np.array(df), np.array(seeds), seed_df)


def test_with_one_source_of_variance_it_is_students_t() -> None:
    for one in (estimate(-0.3, 0.04, 9.0, 0.0, 2), estimate(-0.3, 0.0, 50.0, 0.04, 9)):
        assert one.interval(0.95) == pytest.approx(stats.t.interval(0.95, 9, -0.3, 0.2))
        assert one.upper(0.9) == pytest.approx(-0.3 + 0.2 * stats.t.ppf(0.9, 9))
        assert one.p_value() == pytest.approx(stats.t.cdf(-1.5, 9))


def test_both_sources_are_added_and_their_quantiles_weighted() -> None:
    both = estimate(1.0, 3.0, 100.0, 1.0, 2)
    quantile = 0.75 * stats.t.ppf(0.95, 100) + 0.25 * stats.t.ppf(0.95, 2)
    assert both.standard_error == 2
    assert both.upper(0.95) == pytest.approx(1 + 2 * quantile)
    for value in (-8.0, -3.0, 2.0):
        p = float(estimate(value, 3.0, 100.0, 1.0, 2).p_value())
        assert estimate(value, 3.0, 100.0, 1.0, 2).upper(1 - p) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("value", "p"), [(-0.1, 0.0), (0.0, 1.0), (0.1, 1.0)])
def test_without_variance_the_sign_decides(value: float, p: float) -> None:
    certain = estimate(value, 0.0, 10.0, 0.0, 2)
    assert certain.p_value() == p
    assert certain.upper(0.99) == value


def test_a_variance_that_could_not_be_had_shows_nothing() -> None:
    assert estimate(-0.1, float("nan"), 10.0, 0.0, 2).p_value() == 1.0


def measured(speakers: list[str | None], errors: np.ndarray, resamples: int = 4000) -> SpeechEstimate:
    return over_speech(lambda rate: rate, Speech(WORDS, speakers, resamples).rates(errors))


def test_a_wer_over_seeds() -> None:
    errors = RANDOM.binomial(WORDS, 0.3, (3, 200))
    found = measured([None] * 200, errors)
    by_seed = errors.sum(1) / WORDS.sum()
    assert found.value == pytest.approx(by_seed.mean())
    residual = errors.mean(0) - by_seed.mean() * WORDS  # the textbook variance of a ratio
    assert found.variance == pytest.approx(200 / 199 * (residual**2).sum() / WORDS.sum() ** 2, rel=0.1)
    assert found.df == 199


def test_few_utterances_have_the_textbook_variance_of_a_mean() -> None:
    errors = np.array([1, 2, 4, 7, 9])
    speech = Speech(np.full(5, 10), [None] * 5, 20_000)
    found = over_speech(lambda rate: rate, speech.rates(errors[None, :]))
    assert found.variance == pytest.approx((errors / 10).var(ddof=1) / 5, rel=0.04)
    assert found.df == 4


def test_models_are_paired_by_utterance() -> None:
    baseline = RANDOM.binomial(WORDS, 0.3, (3, 200))
    speech = Speech(WORDS, [None] * 200, 500)
    found = over_speech(lambda rate, other: rate - other, speech.rates(baseline + 1), speech.rates(baseline))
    assert found.value == pytest.approx(200 / WORDS.sum())
    residual = 1 - found.value * WORDS  # of the one error more, whatever the others are
    assert found.variance == pytest.approx(200 / 199 * (residual**2).sum() / WORDS.sum() ** 2, rel=0.2)


def test_candidates_on_a_leading_axis_and_a_model_without_seeds() -> None:
    candidates, original = RANDOM.binomial(WORDS, 0.3, (4, 3, 200)), RANDOM.binomial(WORDS, 0.5, (1, 200))
    speech = Speech(WORDS, [None] * 200, 300)
    together = over_speech(lambda rate, other: rate - other, speech.rates(candidates), speech.rates(original))
    for index in range(4):
        alone = over_speech(lambda rate, other: rate - other, speech.rates(candidates[index]), speech.rates(original))
        for name in ("value", "variance"):
            assert getattr(together, name)[index] == pytest.approx(getattr(alone, name))


def speakers(count: int) -> list[str | None]:
    return [f"s{index % count}" for index in range(200)]


def clustered(count: int) -> np.ndarray:
    """Errors that depend on the speaker alone."""
    return np.array([WORDS * (index % count) // count for index in range(200)]).diagonal()[None, :]


def test_many_speakers_are_drawn_whole() -> None:
    found = measured(speakers(40), clustered(40))
    assert found.df == 39
    assert found.variance > 2 * measured([None] * 200, clustered(40)).variance


def test_with_fewer_than_twenty_speakers_the_wider_interval_is_taken() -> None:
    assert measured(speakers(10), clustered(10)).df == 9
    alike = np.tile(RANDOM.binomial(WORDS[:20], 0.5), 10)[None, :]
    words = np.tile(WORDS[:20], 10)
    same = Speech(words, [f"s{index // 20}" for index in range(200)], 1000)  # speakers who differ in nothing
    assert over_speech(lambda rate: rate, same.rates(alike)).df == 199


def test_with_fewer_than_five_speakers_nothing_is_claimed_about_others() -> None:
    assert not Speech(WORDS, speakers(4)).claims_new_speakers
    assert Speech(WORDS, speakers(5)).claims_new_speakers
    assert measured(speakers(4), clustered(4)).df == 199


def test_an_unknown_speaker_is_each_time_another() -> None:
    some: list[str | None] = [None if index < 100 else f"s{index % 25}" for index in range(200)]
    found = measured(some, clustered(25))
    assert found.df == 100 + 25 - 1


def test_estimates_as_one() -> None:
    both = Estimate.stacked([estimate(1.0, 3.0, 100.0, 1.0, 2), estimate(-8.0, 0.0, 50.0, 0.04, 9)])
    assert both.value.tolist() == [1.0, -8.0]
    assert both.seed_df == 2
    assert both.p_value()[0] == pytest.approx(estimate(1.0, 3.0, 100.0, 1.0, 2).p_value())


def test_talkative_speakers_are_as_many_as_would_say_as_much() -> None:
    words = np.array([5, 5, 10, 20, 20, 20, 20])
    shares = np.array([10, 10, 20, 20, 20, 20]) / 100
    speech = Speech(words, ["a", "a", "b", "c", "d", "e", None])
    assert speech.talkative_speakers == pytest.approx(1 / (shares**2).sum())
    assert Speech(words * 0, ["a", "b", "c", "d", "e", "f", "f"]).talkative_speakers == 7


def test_with_fewer_speakers_than_a_claim_needs_utterances_take_their_place() -> None:
    words = np.array([5, 5, 10, 20])
    shares = words / words.sum()
    speech = Speech(words, ["a", "a", "b", None])
    assert not speech.claims_new_speakers
    assert speech.talkative_speakers == pytest.approx(1 / (shares**2).sum())
