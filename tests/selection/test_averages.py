from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from raywce.experiment.schema import Experiment
from raywce.selection.averages import Averaged, AverageTables, average_name, compared_averages, judge_average
from tests.search import surrogate
from tests.search.decoded_tables import decoded

BASE = {"gl": 0.50, "es": 0.20, "pt": 0.19}
BETTER = {"gl": 0.40, "es": 0.19, "pt": 0.19}
SEEDS = 4


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    confirm = {"candidates": 3, "seeds": 4, "resamples": 500}
    return surrogate.load_file(tmp_path, confirm=confirm, constraints={"absolute_floor": 8.0}).experiment


def tables(winner: Mapping[str, float], trainings: Mapping[str, float] = BASE, apart: float = 0.0) -> AverageTables:
    """Averages of four trainings; those without one each are so much apart."""

    def of(rates: Mapping[str, float], first: int) -> list[pa.Table]:
        moved = [0.0, *(apart * sign for sign in (1, -1, 1, -1))]
        return [decoded({name: rate + by for name, rate in rates.items()}, first + n) for n, by in enumerate(moved)]

    return AverageTables(
        original=decoded(surrogate.ORIGINAL),
        averages=(of(BASE, 10), of(winner, 20)),
        trainings=[decoded(trainings, 30 + seed) for seed in range(SEEDS)],
    )


def judged(experiment: Experiment, winner: Mapping[str, float], candidates: int = 3, apart: float = 0.0) -> Averaged:
    return judge_average(tables(winner, apart=apart), "candidate-2", candidates, experiment)


def test_an_average_that_is_better_and_keeps_the_limits_is_confirmed(experiment: Experiment) -> None:
    found = judged(experiment, BETTER)
    assert found.confirmed
    assert found.p <= 0.05
    assert (found.name, found.seeds) == ("average-candidate-2", SEEDS)
    assert set(found.bounds) == {"es", "pt"}
    assert max(found.bounds.values()) < 0
    assert found.gain_bound < 0
    own = found.dev.candidates["candidate-2"]
    assert own.wer["gl"].value == pytest.approx(0.40, abs=0.002)
    assert own.low_resource_gain.value == pytest.approx(-0.10, abs=0.004)
    assert found.dev.baseline.wer["gl"].value == pytest.approx(0.50, abs=0.002)
    assert (own.seeds, found.dev.baseline.seeds) == (SEEDS, SEEDS)


@pytest.mark.parametrize("winner", [BASE, {**BETTER, "es": 0.28}, {**BETTER, "gl": 0.52}])
def test_one_that_is_no_better_or_stands_on_a_limit_is_not(experiment: Experiment, winner: Mapping[str, float]) -> None:
    found = judged(experiment, winner)
    assert not found.confirmed
    assert max(found.gain_bound, *found.bounds.values()) > 0


def test_the_more_candidates_it_could_have_been_of_the_more_it_takes(experiment: Experiment) -> None:
    one, three = (judged(experiment, {**BETTER, "es": 0.23}, candidates) for candidates in (1, 3))
    assert three.p == pytest.approx(min(1.0, 3 * one.p))
    assert three.bounds["es"] > one.bounds["es"]


def test_averages_that_hang_on_single_trainings_show_less(experiment: Experiment) -> None:
    sure, unsure = (judged(experiment, BETTER, apart=apart) for apart in (0.0, 0.02))
    widths = [one.dev.candidates["candidate-2"].against_baseline["es"] for one in (sure, unsure)]
    assert widths[1].high - widths[1].low > 2 * (widths[0].high - widths[0].low)
    assert unsure.p > sure.p


def test_what_averaging_alone_brings_is_that_of_the_baseline(experiment: Experiment) -> None:
    worse = {**BASE, "gl": 0.53}
    found = judge_average(tables(BETTER, trainings=worse), "candidate-2", 3, experiment)
    assert found.effect.value == pytest.approx(-0.03, abs=0.004)
    assert found.effect.low < found.effect.value < found.effect.high


def test_on_a_test_split_intervals_are_over_speech(experiment: Experiment) -> None:
    of = judged(experiment, BETTER)
    found = compared_averages(decoded(surrogate.ORIGINAL), decoded(BASE, 1), decoded(BETTER, 2), of, experiment)
    change = found.candidates["candidate-2"].against_baseline["gl"]
    assert change.value == pytest.approx(-0.10, abs=0.004)
    assert change.low < change.value < change.high < 0
    assert found.candidates["candidate-2"].seeds == SEEDS


def test_names() -> None:
    assert average_name("baseline") == "average-baseline"
    assert average_name("candidate-1", without=2) == "average-candidate-1-without-2"


def test_an_average_over_a_wer_and_a_cer_is_judged_by_relative_changes(tmp_path: Path) -> None:
    """The CER rises by a third of itself, which is less in points than what the WER falls by."""
    languages = "languages={low_resource: [gl, ja], high_resource: [es], language_tokens: {ja: gl}}"
    confirm = {"candidates": 3, "seeds": 4, "resamples": 500}
    search = {"confirm": confirm, "constraints": {"absolute_floor": 8.0}}
    experiment = surrogate.load_file(tmp_path, languages, "evaluation.metric=auto", **search).experiment
    base, effects = {"gl": 0.50, "ja": 0.09, "es": 0.20}, {"gl": 0.40, "ja": 0.06, "es": 0.20}

    def judged_by(winner: Mapping[str, float]) -> Averaged:
        def of(rates: Mapping[str, float], first: int) -> list[pa.Table]:
            return [decoded(rates, first + number) for number in range(1 + SEEDS)]

        trainings = [decoded(base, 30 + seed) for seed in range(SEEDS)]
        tables_ = AverageTables(decoded(base), (of(base, 10), of(winner, 20)), trainings)
        return judge_average(tables_, "candidate-2", 3, experiment)

    better, lopsided = judged_by(effects), judged_by({**effects, "ja": 0.12})
    assert better.confirmed
    assert better.dev.candidates["candidate-2"].low_resource_gain.value == pytest.approx(
        (0.40 / 0.50 + 0.06 / 0.09) / 2 - 1, abs=0.02
    )
    assert not lopsided.confirmed
    assert lopsided.gain_bound > 0
    assert better.effect.value == pytest.approx(0.0, abs=0.02)
