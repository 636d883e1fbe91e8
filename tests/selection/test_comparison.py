"""A language that is not trained on and becomes worse: what is said of it with a limit and without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from raywce.experiment.schema import Experiment
from raywce.selection.comparison import Decoded, choose, compare, side_by_side
from tests.experiment.example import changed
from tests.search.decoded_tables import decoded

SEEDS = (1, 2, 3)
ORIGINAL = decoded({"gl": 0.60, "es": 0.20, "it": 0.10})
BASELINE = [decoded({"gl": 0.50, "es": 0.20, "it": 0.20}, seed) for seed in SEEDS]
RUINED = [decoded({"gl": 0.30, "es": 0.15, "it": 0.40}, seed) for seed in SEEDS]
MILD = [decoded({"gl": 0.40, "es": 0.15, "it": 0.16}, seed) for seed in SEEDS]
DECODED = Decoded(ORIGINAL, BASELINE, {"ruined": RUINED, "mild": MILD})


def watching(example: Path, *overrides: str) -> Experiment:
    languages = "languages={low_resource: [gl], high_resource: [es], watched: [it], language_tokens: {it: es}}"
    few = "search.confirm.resamples=200"
    return changed(example, languages, few, *overrides, check_files=False).experiment


def test_without_a_limit_it_is_shown_and_claims_nothing(example: Path) -> None:
    experiment = watching(example)
    sides = side_by_side(DECODED, experiment)
    choice = choose(DECODED, sides, experiment)
    assert choice.winner == "ruined"
    assert list(choice.claims["ruined"].bounds) == ["es"]
    found = compare(DECODED, sides, experiment)
    assert found.watched == ["it"]
    for figures, wer in ((found.original, 0.10), (found.baseline, 0.20), (found.candidates["ruined"], 0.40)):
        assert figures.wer["it"].value == pytest.approx(wer, abs=0.002)
        assert figures.wer["it"].low < figures.wer["it"].value < figures.wer["it"].high
    assert found.candidates["ruined"].against_original["it"].value == pytest.approx(0.30, abs=0.002)


@pytest.mark.parametrize(
    ("limit", "winner"),
    [
        ("{}", "mild"),  # the general one: the baseline, and half a point
        ("{absolute_floor: 30}", "ruined"),
        ("{reference: original}", None),
    ],
)
def test_with_a_limit_it_stops_a_winner(example: Path, limit: str, winner: str | None) -> None:
    experiment = watching(example, f"search.constraints.languages={{it: {limit}}}")
    choice = choose(DECODED, side_by_side(DECODED, experiment), experiment)
    assert choice.winner == winner
    assert list(choice.claims["mild"].bounds) == ["es", "it"]
    if winner is None:
        assert choice.claims["ruined"].worst[0] == "it"


def test_the_rate_has_its_name_and_the_plain_one_is_a_lower_bound_where_loops_were_stopped(example: Path) -> None:
    experiment = watching(example)
    stopped = ORIGINAL.set_column(ORIGINAL.column_names.index("stopped"), "stopped", [[True] * len(ORIGINAL)])
    for original, experiment_, label in (
        (ORIGINAL, experiment, "capped WER"),
        (stopped, experiment, "capped WER"),
        (ORIGINAL, experiment.by_plain_rate, "WER"),
        (stopped, experiment.by_plain_rate, "WER (a lower bound)"),
    ):
        decoded_ = Decoded(original, BASELINE, {"mild": MILD})
        assert compare(decoded_, side_by_side(decoded_, experiment_), experiment_).label == label


def test_a_test_set_without_it_is_compared_all_the_same(example: Path) -> None:
    experiment = watching(example, "search.constraints.languages={it: {}}")
    rates = {"gl": 0.5, "es": 0.2}
    tables = [decoded(rates, seed) for seed in SEEDS]
    test = Decoded(decoded(rates), tables, {"mild": tables})
    found = compare(test, side_by_side(test, experiment), experiment)
    assert (list(found.original.wer), found.watched) == (["gl", "es"], [])
