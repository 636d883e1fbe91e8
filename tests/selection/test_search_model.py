from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from raywce.evaluation.confidence import Rates, Speech
from raywce.selection.limits import Rule
from raywce.selection.search_model import Noise, Plan, SearchModel, World, logarithms
from tests.search import simulated_dev

Array = NDArray[np.float64]
FLOOR, SHARE = Rule("baseline", 0.0, 0.01), Rule("baseline", 0.1, 0.005)
PLAN = Plan(seeds=5, baseline_seeds=7, speech=0.8)


def world(rules: tuple[Rule, ...] = (FLOOR, SHARE), fixed: tuple[float, ...] = (np.nan, np.nan), low: int = 2) -> World:
    """Two low-resource languages and two with limits, over two axes."""
    random = np.random.default_rng(0)
    rates = np.array([*[0.5, 0.4][:low], 0.15, 0.2])
    baseline = rates * np.exp(0.03 * random.standard_normal((6, len(rates))))
    return World(
        low_resource=low,
        rules=rules,
        fixed=np.array(fixed),
        words=np.full(len(rates), 5000.0),
        baseline=baseline,
        at=np.zeros(2),
        choices=np.zeros(2, np.int64),
        noise=Noise.of(baseline, np.full(len(rates), 5000.0), [50.0] * len(rates)),
    )


def model(of: World, count: int = 20, pending: Array | None = None) -> tuple[SearchModel, Array]:
    """Low-resource rates fall along the first axis, and the others rise."""
    random = np.random.default_rng(1)
    x = random.random((count, 2))
    slopes = np.array([-0.6] * of.low_resource + [0.25] * len(of.rules))
    rates = of.baseline.mean(axis=0) * np.exp(slopes * x[:, :1] + 0.03 * random.standard_normal((count, len(slopes))))
    return SearchModel.fit(of, x, rates, pending), x


Z = np.array([[0.1, 0.5], [0.4, 0.2], [0.9, 0.9]])


def drawn(found: SearchModel, column: int, z: Array, count: int = 200_000) -> tuple[Array, Array]:
    """Rates at z and of the baseline, drawn from what is known of their logarithms."""
    at, base = found.processes[column].posterior(z[None]), found.processes[column].posterior(found.world.at[None])
    covariance = np.array([[at.variance[0], at.shared[0]], [at.shared[0], base.variance[0]]])
    both = np.random.default_rng(3).multivariate_normal([at.mean[0], base.mean[0]], covariance, count)
    return np.exp(both[:, 0]), np.exp(both[:, 1])


@pytest.mark.parametrize("z", Z)
def test_excess_and_gain_are_those_of_rates_drawn_from_the_model(z: Array) -> None:
    found, _ = model(world())
    suits = found.world.noise.suits * found.world.baseline.mean(axis=0) ** 2
    mean, variance = found.excesses(z[None])
    for number, rule in enumerate(found.world.rules):
        rate, base = drawn(found, 2 + number, z)
        excess = rule.excess(rate, base)
        assert mean[0, number] == pytest.approx(excess.mean(), abs=1e-3)
        assert variance[0, number] == pytest.approx(excess.var() + suits[2 + number], rel=0.1)
    pairs = [drawn(found, column, z) for column in range(2)]
    assert mean[0, -1] == pytest.approx(np.mean([(rate - base).mean() for rate, base in pairs]), abs=2e-3)
    gain = sum((rate - base).var() + suits[column] for column, (rate, base) in enumerate(pairs)) / 4
    assert variance[0, -1] == pytest.approx(gain, rel=0.1)
    assert found.objective(z[None]).mean[0] == pytest.approx(np.mean([rate.mean() for rate, _ in pairs]), abs=2e-3)


def test_a_relative_objective_is_the_mean_of_shares_of_the_baseline() -> None:
    """The second language's rate is a tenth of what it was, as a CER beside WERs may be: it counts as much."""
    of = world()
    small = np.array([1.0, 0.1, 1.0, 1.0])
    scaled = replace(of, baseline=of.baseline * small, words=of.words / small, relative=True)
    (relative, _), (plain, _) = model(scaled), model(replace(of, relative=True))
    assert relative.objective(Z).mean == pytest.approx(plain.objective(Z).mean, rel=1e-6)
    assert relative.excesses(Z).mean == pytest.approx(plain.excesses(Z).mean, rel=1e-6)
    assert relative.chance(Z, PLAN, with_model=True) == pytest.approx(plain.chance(Z, PLAN, with_model=True), rel=1e-6)
    level = scaled.baseline.mean(axis=0)
    pairs = [(*drawn(relative, column, Z[1]), level[column]) for column in range(2)]
    gain = np.mean([((rate - base) / reference).mean() for rate, base, reference in pairs])
    assert relative.excesses(Z[1:2]).mean[0, -1] == pytest.approx(gain, abs=5e-3)
    shares = np.mean([(rate / reference).mean() for rate, _, reference in pairs])
    assert relative.objective(Z[1:2]).mean[0] == pytest.approx(shares, abs=5e-3)


def test_the_evidence_on_one_setting_is_not_drawn_towards_the_baseline() -> None:
    """Of many searches, each by few and noisy trials: what is true of a setting at the edge, and what is found."""
    of, slopes, z = world(), np.array([-0.6, -0.6, 0.3, 0.3]), np.array([[0.95, 0.5]])
    base, found = of.baseline.mean(axis=0), []
    for seed in range(100):
        random = np.random.default_rng(seed)
        x = random.random((10, 2))
        rates = base * np.exp(slopes * x[:, :1] + 0.1 * random.standard_normal((10, 4)))
        measured = SearchModel.fit(of, x, rates)
        found.append([measured.excesses(z).mean[0], measured.evidence(z).mean[0]])
    true = base * np.exp(slopes * z[0, 0])
    excess = [rule.excess(*pair) for rule, *pair in zip(of.rules, true[2:], base[2:], strict=True)]
    excess = [*excess, (true - base)[:2].mean()]
    drawn_in, as_measured = np.abs(np.mean(found, axis=0) - excess).sum(axis=1)
    assert as_measured < drawn_in / 2


def test_trials_do_not_speak_for_a_baseline_that_is_no_setting() -> None:
    """Each setting breaks both limits by half of them. At a place in the midst of the trials that would be hidden."""
    nowhere, z = replace(world(low=1), at=np.full(2, np.nan)), np.full((1, 2), 0.5)
    base, off = nowhere.baseline.mean(axis=0), []
    rates, excess = base + np.array([-0.15, 0.015, 0.03]), np.array([0.005, 0.03 - 0.1 * base[2], -0.15])
    for seed in range(20):
        random = np.random.default_rng(seed)
        x = random.random((20, 2))
        found = SearchModel.fit(nowhere, x, rates * np.exp(0.02 * random.standard_normal((20, 3))))
        mean, variance = (one[0] for one in found.evidence(z))
        off.append((mean - excess) / np.sqrt(variance))
    assert np.abs(np.mean(off, axis=0)).max() < 0.4, "standard errors"
    assert np.max(off, axis=0).min() > 0 > np.min(off, axis=0).max(), "to either side"


def test_a_reference_that_is_fixed_has_no_noise() -> None:
    against, _ = model(world())
    fixed, _ = model(world((Rule("original", 0.0, 0.01), Rule(0.2, 0.1, 0.005)), (0.15, 0.2)))
    number = fixed.excesses(Z)
    rate = np.exp(fixed.processes[2].posterior(Z).mean)
    assert number.mean[:, 0] == pytest.approx(rate - 0.16)
    assert (number.variance[1:, 0] != against.excesses(Z).variance[1:, 0]).all()


def test_against_a_fixed_rate_the_search_s_half_is_no_evidence() -> None:
    """How hard its speech is, is in the baseline's rate too, but not in a number."""
    rules = (Rule("original", 0.0, 0.01), Rule("baseline", 0.1, 0.005))
    found, _ = model(world(rules, (0.15, np.nan)))
    assert found.fits().tolist() == [False, True, True]


@pytest.mark.parametrize("with_model", [False, True])
def test_the_chance_is_how_often_a_confirm_phase_would_confirm(with_model: bool) -> None:
    found, _ = model(world())
    z = np.array([[0.02, 0.5], [0.1, 0.5], [0.25, 0.5], [0.5, 0.5]])
    rate = found.world.baseline.mean(axis=0)
    noise = found.world.noise
    training = noise.common + noise.counting / (rate * found.world.words / 0.8)
    each = rate**2 * (training * (1 / 5 + 1 / 7) + 2 * 0.8 * noise.suits)
    measured = np.array([each[2], each[3], (each[0] + each[1]) / 4])
    random = np.random.default_rng(0)
    mean, before = found.excesses(z)
    truth = mean + np.sqrt(before) * random.standard_normal((100_000, *mean.shape))
    seen = truth + np.sqrt(measured) * random.standard_normal(truth.shape)
    if with_model:
        trials = found.evidence(z)
        after = 1 / (1 / trials.variance + 1 / measured)
        bound = after * (trials.mean / trials.variance + seen / measured) + PLAN.quantile * np.sqrt(after)
    else:
        bound = seen + PLAN.quantile * np.sqrt(measured)
    often = (bound < 0).all(axis=-1).mean(axis=0)
    chance = found.chance(z, PLAN, with_model)
    assert chance == pytest.approx(often, abs=0.01)
    assert chance.max() > 0.15 > chance[-1]


@pytest.mark.parametrize("more", [1 / 3, 1, 3])
def test_the_confirm_phase_counts_the_errors_of_its_own_part_of_dev(more: float) -> None:
    """Its part has so many times the words of the search's: errors that are counted there, of trainings that differ."""
    of, words, seeds = world(low=1), np.full(3, 2000.0), np.array([5, 7])
    of = replace(of, words=words, noise=Noise(common=0.02**2, counting=1.0, suits=np.zeros(3)))
    error = model(of)[0].gain_error(Plan(*seeds, speech=1 / more))
    random = np.random.default_rng(4)
    rate, means = of.baseline.mean(axis=0)[0], []
    for count in seeds:
        trained = rate * np.exp(0.02 * random.standard_normal((20_000, count)))
        means.append((random.poisson(trained * 2000 * more) / (2000 * more)).mean(axis=1))
    assert error == pytest.approx((means[0] - means[1]).std(), rel=0.03)


def test_both_halves_confirm_more_than_held_out_speech_alone() -> None:
    found, _ = model(world())
    z = np.random.default_rng(0).random((200, 2))
    both, alone = (found.chance(z, PLAN, with_model) for with_model in (True, False))
    assert both.max() > alone.max()


def test_running_trials_change_no_mean_and_are_surer() -> None:
    before, after = model(world())[0].objective(Z), model(world(), pending=Z[:1])[0].objective(Z)
    assert after.mean == pytest.approx(before.mean, abs=1e-6)
    assert after.variance[0] < before.variance[0]


def test_the_noise_between_trainings_is_that_of_the_baselines_seeds() -> None:
    random = np.random.default_rng(0)
    many, words = 0.3 * np.exp(0.05 * random.standard_normal((400, 3))), np.full(3, 1e4)
    found = Noise.of(many, words, [10.0] * 3)
    assert np.sqrt(found.training(many.mean(axis=0), words)) == pytest.approx(np.full(3, 0.05), rel=0.05)
    single = Noise.of(many[:1], words, [10.0, 10.0, 1000.0])
    assert single.training(many[:1], words) == pytest.approx(0.03**2 + 1 / (many[:1] * words), rel=1e-3)
    assert single.suits[0] == pytest.approx(100 * single.suits[2])


def test_a_language_of_few_errors_says_nothing_of_the_noise_of_others() -> None:
    """Five errors in 500 words differ by 40 % from one training to the next; 250 by a few."""
    random, words = np.random.default_rng(1), np.full(4, 500.0)
    rates = np.array([0.5, 0.3, 0.2, 0.01])
    deviations = []
    for _ in range(40):
        factors = np.exp(0.01 * random.standard_normal((5, 4)))
        own = random.poisson(0.2 * rates * factors * words)  # the other errors are the same in all trainings
        found = Noise.of((0.8 * rates * words + own) / words, words, [20.0] * 4)
        deviations.append(np.sqrt(found.training(rates, words)))
    true = np.sqrt(0.01**2 + 0.2 / (rates * words))
    assert np.median(deviations, axis=0) == pytest.approx(true, rel=0.5)


def test_two_errors_more_are_noise_where_there_are_four_and_forty_are_none_where_there_are_eighty() -> None:
    words, baseline = np.full(2, 400.0), np.array([[0.3, 0.008], [0.31, 0.012]])
    of = replace(world((FLOOR,), (np.nan,), low=1), words=words, baseline=baseline)
    of = replace(of, noise=Noise.of(baseline, words, [20.0] * 2))
    x = np.repeat(np.random.default_rng(5).random((4, 2)), 8, axis=0)

    def fits(rate: float) -> bool:
        rates = np.tile([0.3, rate], (32, 1))
        rates[5, 1] *= 1.5
        return bool(SearchModel.fit(of, x, rates).fits()[0])

    assert fits(0.01)
    assert not fits(0.2)


def test_trials_that_others_do_not_explain_are_no_fit() -> None:
    of = world(low=1)
    assert model(of)[0].fits().all()
    random = np.random.default_rng(5)
    x = np.repeat(random.random((4, 2)), 8, axis=0)
    rates = of.baseline.mean(axis=0) * np.exp(0.02 * random.standard_normal((32, 3)))
    rates[5, 1] *= 3  # one of eight of a setting went wrong in one language
    assert SearchModel.fit(of, x, rates).fits().tolist() == [False, True, True]


def test_a_rate_of_nothing_has_a_logarithm() -> None:
    assert logarithms(np.array([[0.0]]), np.array([100.0])) == pytest.approx(np.log([[0.005]]))


def test_a_language_without_an_error_is_no_trouble() -> None:
    of = world(low=1)
    none = np.where(np.arange(3) == 1, 0.0, of.baseline)
    of = replace(of, baseline=none, noise=Noise.of(none, of.words, [50.0] * 3))
    x = np.random.default_rng(0).random((8, 2))
    found = SearchModel.fit(of, x, np.tile(none[0], (8, 1)))
    mean, variance = found.excesses(Z)
    assert (mean[:, 0] < 0).all()
    assert (variance > 0).all()
    assert np.isfinite(found.chance(Z, PLAN, with_model=True)).all()


@pytest.mark.parametrize("suits", [0.0, 0.1, 0.2])
def test_which_setting_suits_which_speakers_is_learned_from_trials(suits: float) -> None:
    random = np.random.default_rng(2)
    noise, before = simulated_dev.Noise(suits=suits, utterance=0.4, speaker=0.0), world(low=1).noise
    dev = simulated_dev.Dev.draw(random, 1500, 100)
    speech, shared = Speech(dev.words, dev.speakers, 500), dev.shared(random, noise)
    baseline = speech.rates(dev.errors(random, np.array([0.3]), 8, noise, shared)[0, 0])
    trials = speech.rates(dev.errors(random, np.full(60, 0.3), 1, noise, shared)[0, :, 0])
    words = np.array([dev.words.sum()], float)
    found = before.with_suits([baseline], [trials], words, [speech.talkative_speakers])
    assert found.suits[0] == pytest.approx(suits**2 / speech.talkative_speakers, rel=0.4, abs=4e-5)
    assert (found.common, found.counting) == (before.common, before.counting)
    alone = before.with_suits([baseline[:1]], [trials], words, [100.0])
    assert alone is before, "one training does not say what is its own"


def test_a_language_of_few_errors_says_little_of_which_setting_suits_which_speakers() -> None:
    random = np.random.default_rng(5)
    noise, before = simulated_dev.Noise(suits=0.1, utterance=0.4, speaker=0.0), world(low=1).noise
    dev = simulated_dev.Dev.draw(random, 1500, 100)
    speech, words = Speech(dev.words, dev.speakers, 500), np.full(2, dev.words.sum(), float)

    def of(rate: float) -> tuple[Rates, Rates]:
        shared = dev.shared(random, noise)
        baseline = dev.errors(random, np.array([rate]), 8, noise, shared)[0, 0]
        trials = dev.errors(random, np.full(60, rate), 1, noise, shared)[0, :, 0]
        return speech.rates(baseline), speech.rates(trials)

    (baseline, trials), (few_of_baseline, few_of_trials) = of(0.3), of(0.002)
    people = [speech.talkative_speakers] * 2
    alone = before.with_suits([baseline], [trials], words[:1], people[:1])
    both = before.with_suits([baseline, few_of_baseline], [trials, few_of_trials], words, people)
    assert both.suits[0] == pytest.approx(alone.suits[0], rel=0.1)


def test_speech_without_an_error_of_the_baseline_is_no_suiting_of_settings() -> None:
    """Two errors in 500 words: some resampled speech has none of them, and a quotient of rates no bound."""
    random, before = np.random.default_rng(3), world(low=1).noise
    words, speakers = np.full(100, 5.0), np.repeat(np.arange(10), 10)
    speech = Speech(words, speakers, 500)
    errors = np.zeros((14, 100))
    errors[:, 7] = 1
    errors[np.arange(14), random.integers(0, 100, 14)] += 1
    rates = speech.rates(errors)
    found = before.with_suits([rates[:4]], [rates[4:]], np.array([500.0]), [speech.talkative_speakers])
    assert found.suits[0] < 1
