from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from raywce.evaluation.confidence import Estimate, Measurement, Speech, holm, mean, measure

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


def measured(speakers: list[str | None], errors: np.ndarray, resamples: int = 4000) -> Measurement:
    return measure(lambda rate: rate, Speech(WORDS, speakers, resamples).rates(errors))


def test_a_wer_over_seeds() -> None:
    errors = RANDOM.binomial(WORDS, 0.3, (3, 200))
    found = measured([None] * 200, errors)
    by_seed = errors.sum(1) / WORDS.sum()
    assert found.value == pytest.approx(by_seed.mean())
    assert found.by_seed == pytest.approx(by_seed)
    residual = errors.mean(0) - by_seed.mean() * WORDS  # the textbook variance of a ratio
    assert found.speech_variance == pytest.approx(200 / 199 * (residual**2).sum() / WORDS.sum() ** 2, rel=0.1)
    assert found.speech_df == 199
    assert found.estimate().seed_variance == pytest.approx(stats.sem(by_seed) ** 2)


def test_models_are_paired_by_utterance_and_by_seed() -> None:
    baseline = RANDOM.binomial(WORDS, 0.3, (3, 200))
    speech = Speech(WORDS, [None] * 200, 500)
    found = measure(lambda rate, other: rate - other, speech.rates(baseline + 1), speech.rates(baseline))
    assert found.value == pytest.approx(200 / WORDS.sum())
    assert found.estimate().seed_variance == pytest.approx(0, abs=1e-30)


def test_candidates_on_a_leading_axis_and_a_model_without_seeds() -> None:
    candidates, original = RANDOM.binomial(WORDS, 0.3, (4, 3, 200)), RANDOM.binomial(WORDS, 0.5, (1, 200))
    speech = Speech(WORDS, [None] * 200, 300)
    together = measure(lambda rate, other: rate - other, speech.rates(candidates), speech.rates(original))
    for index in range(4):
        alone = measure(lambda rate, other: rate - other, speech.rates(candidates[index]), speech.rates(original))
        for name in ("value", "by_seed", "speech_variance"):
            assert getattr(together, name)[index] == pytest.approx(getattr(alone, name))


def speakers(count: int) -> list[str | None]:
    return [f"s{index % count}" for index in range(200)]


def clustered(count: int) -> np.ndarray:
    """Errors that depend on the speaker alone."""
    return np.array([WORDS * (index % count) // count for index in range(200)]).diagonal()[None, :]


def test_many_speakers_are_drawn_whole() -> None:
    found = measured(speakers(40), clustered(40))
    assert found.speech_df == 39
    assert found.speech_variance > 2 * measured([None] * 200, clustered(40)).speech_variance


def test_with_fewer_than_twenty_speakers_the_wider_interval_is_taken() -> None:
    assert measured(speakers(10), clustered(10)).speech_df == 9
    alike = np.tile(RANDOM.binomial(WORDS[:20], 0.5), 10)[None, :]
    words = np.tile(WORDS[:20], 10)
    same = Speech(words, [f"s{index // 20}" for index in range(200)], 1000)  # speakers who differ in nothing
    assert measure(lambda rate: rate, same.rates(alike)).speech_df == 199


def test_with_fewer_than_five_speakers_nothing_is_claimed_about_others() -> None:
    assert not Speech(WORDS, speakers(4)).claims_new_speakers
    assert Speech(WORDS, speakers(5)).claims_new_speakers
    assert measured(speakers(4), clustered(4)).speech_df == 199


def test_an_unknown_speaker_is_each_time_another() -> None:
    some: list[str | None] = [None if index < 100 else f"s{index % 25}" for index in range(200)]
    found = measured(some, clustered(25))
    assert found.speech_df == 100 + 25 - 1


def test_the_mean_over_languages() -> None:
    one = Measurement(np.array(0.2), np.array([0.1, 0.3]), np.array(0.04), np.array(30.0))
    other = Measurement(np.array(0.4), np.array([0.5, 0.3]), np.array(0.04), np.array(30.0))
    both = mean([one, other])
    assert both.value == pytest.approx(0.3)
    assert both.by_seed == pytest.approx([0.3, 0.3])  # seeds are the same trainings: what they cancel is no spread
    assert both.speech_variance == pytest.approx(0.02)
    assert both.speech_df == pytest.approx(60)


def test_holm_by_hand() -> None:
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([[0.6, 0.5], [0.001, 0.9]])) == pytest.approx(np.array([[1.0, 1.0], [0.002, 0.9]]))


def test_talkative_speakers_are_as_many_as_would_say_as_much() -> None:
    words = np.array([5, 5, 10, 20])
    assert Speech(words, ["a", "a", "b", None]).talkative_speakers == pytest.approx(1 / (0.25**2 + 0.25**2 + 0.5**2))
    assert Speech(words * 0, ["a", "a", "b", "b"]).talkative_speakers == 4
