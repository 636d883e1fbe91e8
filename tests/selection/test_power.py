"""The power statement, compared with confirm phases on simulated word errors."""

from __future__ import annotations

from operator import sub

import numpy as np
import pytest

from raywce.evaluation.arms import Arms
from raywce.evaluation.confidence import Speech
from raywce.selection.limits import Rule
from raywce.selection.power import HeldOut, Power, power
from tests.search.simulated_dev import Dev, Noise

SEEDS, REPETITIONS, HIGH, LOW = 4, 300, 0.15, 0.40
NOISE = Noise(seed=0.03)


def of(rate: float, utterances: int, speakers: int) -> HeldOut:
    return HeldOut(utterances, 10 * utterances, 0.75 * speakers, rate)  # as talkative as `Dev` draws them


def stated(limit: float, utterances: int = 800, speakers: int = 60) -> Power:
    rule = Rule("baseline", 0.0, limit)
    held = of(HIGH, utterances, speakers)
    return power([of(LOW, utterances, speakers)], {"es": held}, {"es": rule}, [SEEDS] * 2, 0.95)


def confirmed(gain: float, limit: float, utterances: int = 800, speakers: int = 60) -> float:
    """How often a candidate with that true gain, which raises nobody, is confirmed."""
    random = np.random.default_rng(8)
    shown = np.ones(REPETITIONS, bool)
    for rates, statistic in (((HIGH, HIGH), Rule("baseline", 0.0, limit).excess), ((LOW, LOW - gain), sub)):
        dev = Dev.draw(random, utterances, speakers)
        errors = dev.errors(random, np.array(rates), SEEDS, NOISE, dev.shared(random, NOISE, REPETITIONS))
        found = Speech(dev.words, dev.speakers, 200).rates(errors)
        shown &= Arms([[found[:, 0], found[:, 1]]]).estimate(statistic, 1, 0).p_value() <= 0.05
    return float(shown.mean())


@pytest.mark.parametrize(("gain", "limit"), [(0.05, 0.03), (0.02, 0.03), (0.05, 0.01)])
def test_it_is_how_often_a_candidate_is_confirmed(gain: float, limit: float) -> None:
    found = stated(limit)
    assert found.chances[100 * gain] == pytest.approx(confirmed(gain, limit), abs=0.1)


def test_the_gain_is_confirmed_eight_times_in_ten() -> None:
    found = stated(0.05)
    assert confirmed(found.gain / 100, 0.05) == pytest.approx(0.8, abs=0.1)


def test_a_limit_below_what_speech_resolves_is_named_and_no_gain_helps() -> None:
    found = stated(0.002)
    assert found.too_narrow == ["es"]
    assert found.gain is None
    assert found.resolved["es"] > found.limits["es"] == pytest.approx(0.2)
    assert stated(found.resolved["es"] / 100 + 1e-6).too_narrow == []
    assert confirmed(0.2, found.resolved["es"] / 100) == pytest.approx(0.9, abs=0.1)


def test_more_speech_more_speakers_and_fewer_limits_show_more() -> None:
    chance = stated(0.02).chances[5.0]
    assert stated(0.02, utterances=3000).chances[5.0] > chance
    assert stated(0.02, speakers=300).chances[5.0] > chance
    alone = power([of(LOW, 800, 60)], {}, {}, [SEEDS] * 2, 0.95)
    assert alone.chances[5.0] > chance
    assert alone.resolved == {}


def test_a_language_without_an_error_is_no_trouble() -> None:
    found = power([of(0.0, 100, 10)], {"es": of(0.0, 100, 10)}, {"es": Rule("baseline", 0.0, 0.01)}, [3] * 4, 0.95)
    assert found.gain is None
    assert 0 < found.resolved["es"] < 5


def test_shares_of_the_baselines_rates_count_each_language_alike() -> None:
    """Where both have the same rate, 10 % of it are so many points; a tenth of a rate has the same share."""
    held = [of(LOW, 800, 60)] * 2
    points = power(held, {}, {}, [SEEDS] * 2, 0.95, gains=(10 * LOW,))
    shares = power(held, {}, {}, [SEEDS] * 2, 0.95, gains=(10.0,), relative=True)
    assert shares.chances[10.0] == pytest.approx(points.chances[10 * LOW])
    assert shares.gain * LOW == pytest.approx(points.gain, rel=1e-6)
    small = HeldOut(800, 80_000, held[0].speakers, LOW / 10)  # as many errors, in ten times as many characters
    scaled = power([held[0], small], {}, {}, [SEEDS] * 2, 0.95, gains=(10.0,), relative=True)
    assert scaled.chances[10.0] == pytest.approx(shares.chances[10.0])
