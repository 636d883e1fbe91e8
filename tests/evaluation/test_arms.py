from __future__ import annotations

from operator import sub

import numpy as np
import pytest

from raywce.evaluation.arms import Arms, Averages, at_the_limit
from raywce.evaluation.confidence import Rates, Resampled, Speech
from raywce.selection.limits import Rule
from tests.search.simulated_dev import Dev, Noise


def certain(*rates: float) -> Rates:
    """Rates of one setting's trainings on speech that has no variance."""
    observed = np.array(rates)
    return Rates(observed, [Resampled(np.repeat(observed[:, None], 50, 1), 30)])


BASELINE, CANDIDATE, OTHER = certain(0.19, 0.20, 0.21), certain(0.27, 0.33), certain(0.40, 0.44, 0.42, 0.42)
SQUARES = 2 * (0.01 / 0.20) ** 2 + 2 * (0.03 / 0.30) ** 2 + 2 * (0.02 / 0.42) ** 2


def test_all_arms_measure_how_much_trainings_differ() -> None:
    arms = Arms([[BASELINE, CANDIDATE, OTHER]])
    assert arms.seed_df == 2 + 1 + 3
    assert arms.seed_variance == pytest.approx(SQUARES / 6)
    found = arms.estimate(sub, 1, 0)
    assert found.value == pytest.approx(0.10)
    assert found.seed_variance == pytest.approx(SQUARES / 6 * (0.30**2 / 2 + 0.20**2 / 3))
    assert found.seed_df == 6
    assert arms.estimate(lambda rate: rate, 2).seed_variance == pytest.approx(SQUARES / 6 * 0.42**2 / 4)


def test_what_a_limit_takes_of_the_reference_counts_as_much() -> None:
    rule = Rule("baseline", tolerance=0.1, floor=0.0)
    found = Arms([[BASELINE, CANDIDATE]]).estimate(rule.excess, 1, 0)
    share = (2 * 0.05**2 + 2 * 0.1**2) / 3
    assert found.value == pytest.approx(0.30 - 1.1 * 0.20)
    assert found.seed_variance == pytest.approx(share * (0.30**2 / 2 + 1.1**2 * 0.20**2 / 3))


def test_a_limit_is_tested_with_the_variances_of_a_model_that_stands_on_it() -> None:
    rule, arms = Rule("baseline", tolerance=0.0, floor=0.05), Arms([[BASELINE, CANDIDATE]])
    found = at_the_limit(arms, rule.excess, 1, 0)
    share = (2 * 0.05**2 + 2 * 0.1**2) / 3
    assert found.value == pytest.approx(0.30 - 0.20 - 0.05)
    assert found.seed_variance == pytest.approx(share * (0.25**2 / 2 + 0.20**2 / 3))
    without_errors = Arms([[BASELINE, certain(0.0, 0.0)]])
    assert at_the_limit(without_errors, sub, 1, 0).value == pytest.approx(-0.20)


def test_a_model_on_its_limit_is_found_within_as_often_as_the_level_allows() -> None:
    speech, errors = simulated(Noise(seed=0.05))
    rates = speech.rates(errors)
    rule = Rule("baseline", 0.0, RATES[0] - RATES[1])
    p = at_the_limit(Arms([[rates[:, 0], rates[:, 1]]]), rule.excess, 0, 1).p_value()
    assert p.shape == (REPETITIONS,)
    assert 0.03 < (p <= 0.1).mean() < 0.14


def test_a_limit_far_above_a_small_rate_can_be_kept() -> None:
    """The baseline makes five errors in 500 words, and up to ten times as many are allowed."""
    rule, random = Rule("baseline", 0.0, 0.09), np.random.default_rng(0)
    dev = Dev(np.full(100, 5), [f"speaker {number // 5}" for number in range(100)])
    noise = Noise(utterance=1.0, seed=0.02)
    speech, shared = Speech(dev.words, dev.speakers, 200), dev.shared(random, noise, REPETITIONS)
    kept = {}
    for rate in (0.01, 0.04, 0.10):
        rates = speech.rates(dev.errors(random, np.array([0.01, rate]), SEEDS, noise, shared))
        bound = at_the_limit(Arms([[rates[:, 0], rates[:, 1]]]), rule.excess, 1, 0).upper(0.9)
        kept[rate] = float((bound < 0).mean())
    assert kept[0.01] > 0.98
    assert kept[0.04] > 0.7
    assert 0.03 < kept[0.10] < 0.14


@pytest.mark.parametrize("shares", [(1.0, 1.0), (1.15, 0.85)])
def test_relative_changes_that_cancel_are_found_a_gain_as_often_as_the_level_allows(
    shares: tuple[float, float],
) -> None:
    """One language has three times the rate of the other; what one loses of its rate, the other gains of its own."""
    languages = []
    for number, (rate, share) in enumerate(zip((0.3, 0.1), shares, strict=True)):
        speech, errors = simulated(Noise(seed=0.05), np.array([rate, share * rate]), 4 + number)
        rates = speech.rates(errors)
        languages.append([rates[:, arm].relative_to(rates[:, 0], speech.half_an_error) for arm in (0, 1)])
    arms = Arms(languages)
    found = at_the_limit(arms, sub, 1, 0)
    assert found.value.mean() == pytest.approx(0.0, abs=0.01)
    assert 0.03 < (found.p_value() <= 0.1).mean() < 0.14


def test_of_one_language_a_relative_change_is_as_sure_as_the_change() -> None:
    speech, errors = simulated(Noise(seed=0.05))
    rates = speech.rates(errors)
    of, base = rates[:, 1], rates[:, 0]
    least = speech.half_an_error
    relative = at_the_limit(Arms([[base.relative_to(base, least), of.relative_to(base, least)]]), sub, 1, 0)
    plain = at_the_limit(Arms([[base, of]]), sub, 1, 0)
    assert relative.value == pytest.approx(of.observed.mean(-1) / base.observed.mean(-1) - 1)
    assert relative.p_value() == pytest.approx(plain.p_value(), abs=0.02)


def test_a_baseline_without_an_error_has_half_of_one() -> None:
    found = certain(0.1, 0.3).relative_to(certain(0.0, 0.0), least=0.05)
    assert found.observed.tolist() == pytest.approx([2.0, 6.0])


def test_a_model_that_was_not_trained_has_no_seeds() -> None:
    original = certain(0.5)
    arms = Arms([[original, BASELINE]], fixed=1)
    assert arms.seed_df == 2
    share = 2 * 0.05**2 / 2
    assert arms.estimate(sub, 1, 0).seed_variance == pytest.approx(share * 0.20**2 / 3)
    assert arms.estimate(lambda rate: rate, 0).seed_variance == 0


def test_with_a_training_each_nothing_is_known_of_seeds() -> None:
    found = Arms([[certain(0.2), certain(0.3)]]).estimate(sub, 1, 0)
    assert (found.seed_variance, found.seed_df) == (0, 0)


def test_what_cancels_between_languages_is_no_difference_between_trainings() -> None:
    arms = Arms([[certain(0.1, 0.3)], [certain(0.5, 0.3)]])
    assert arms.seed_variance == pytest.approx(0)
    assert arms.estimate(lambda rate: rate, 0).value == pytest.approx(0.3)


def test_without_an_error_there_is_no_variance() -> None:
    arms = Arms([[certain(0.0, 0.0), certain(0.0, 0.0)]])
    assert arms.seed_variance == 0


SEEDS, REPETITIONS, RATES = 4, 400, np.array([0.3, 0.2])


def simulated(noise: Noise, rates: np.ndarray = RATES, seed: int = 4) -> tuple[Speech, np.ndarray]:
    """(repetitions, arms, seeds, utterances) errors in a world whose truth is known."""
    random = np.random.default_rng(seed)
    dev = Dev.draw(random, 400, 40)
    shared = dev.shared(random, noise, REPETITIONS)
    return Speech(dev.words, dev.speakers, 200), dev.errors(random, rates, SEEDS, noise, shared)


@pytest.mark.parametrize("seed", [0.0, 0.05, 0.10])
def test_what_is_a_trainings_own_on_each_utterance_is_not_taken_for_the_seeds(seed: float) -> None:
    """The truth, on average; where it is 0, what is below 0 by chance counts as 0."""
    speech, errors = simulated(Noise(seed=seed, utterance=0.3, decoded=0.5))
    rates = speech.rates(errors)
    found = Arms([[rates[:, 0], rates[:, 1]]]).seed_variance
    assert found.shape == (REPETITIONS,)
    with_own = ((errors.sum(-1) / speech.words.sum()).var(axis=-1, ddof=1).mean(axis=0) / RATES**2).mean()
    truth = np.exp(seed**2) - 1
    assert found.mean() - truth < 0.4 * (with_own - truth)
    if seed:
        assert found.mean() == pytest.approx(truth, rel=0.15)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    noise = Noise(seed=0.05, suits=0.0)
    speech, errors = simulated(noise)
    rates = speech.rates(errors)
    low, high = Arms([[rates[:, 0], rates[:, 1]]]).estimate(sub, 1, 0).interval(0.9)
    held = ((low <= RATES[1] - RATES[0]) & (RATES[1] - RATES[0] <= high)).mean()
    assert 0.86 <= held <= 0.96


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    trainings = np.array([0.30, 0.34, 0.26, 0.30, 0.33])
    without = (trainings.sum() - trainings) / 4
    original, average = certain(0.5), certain(trainings.mean())
    arms = Averages([[original, average]], [[original[:0], certain(*without)]])
    found = arms.estimate(sub, 1, 0)
    assert found.value == pytest.approx(trainings.mean() - 0.5)
    assert found.seed_variance == pytest.approx(trainings.var(ddof=1) / 5)
    assert found.seed_df == 4
    assert found.speech_variance == pytest.approx(0, abs=1e-12)
    twice = arms.estimate(lambda one, other: 2 * one - other, 1, 0)
    assert twice.seed_variance == pytest.approx(4 * trainings.var(ddof=1) / 5)
    assert arms.estimate(lambda rate: rate, 0).seed_variance == 0, "the original is no average"


def test_two_averages_vary_independently_and_languages_together() -> None:
    one, other = np.array([0.30, 0.34, 0.26]), np.array([0.42, 0.40, 0.44])

    def arm(of: np.ndarray) -> tuple[Rates, Rates]:
        return certain(of.mean()), certain(*((of.sum() - of) / 2))

    pairs = [arm(one), arm(other)]
    language = [[average for average, _ in pairs]], [[without for _, without in pairs]]
    found = Averages(*language).estimate(sub, 0, 1)
    assert found.seed_variance == pytest.approx((one.var(ddof=1) + other.var(ddof=1)) / 3)
    assert found.seed_df == 4
    both = Averages(2 * language[0], 2 * language[1]).estimate(sub, 0, 1)
    assert both.value == pytest.approx(found.value)
    assert both.seed_variance == pytest.approx(found.seed_variance), "the same trainings decode both"
