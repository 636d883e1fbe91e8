from __future__ import annotations

import math
from dataclasses import fields

from raywce.trial_report import Report

FULL = Report(
    step=20,
    final=True,
    time_s=3.5,
    loss={"gl": 1.5, "es": 1.0},
    utterances_seen={"gl": 3.0},
    alpha={"gl": 2.0},
    ratios=(2.5, None),
    learning_rate=1e-5,
    precision="fp16",
    skipped_steps=1,
    loss_scale=32768.0,
    warning="the card lacks it",
    rates={"wer": {"gl": 0.4, "es": 0.2}, "cer": {"gl": 0.2, "es": 0.1}, "language_identification": {"gl": 1.0}},
    objective=0.4,
    intermediate=True,
    utterances="/runs/toy/utterances.parquet",
    left_out={"gl": 2},
    beyond_context={"es": 1},
    restarts=1,
    checkpoint="/runs/toy/step-20",
    placement_group_id="ab",
    controller_id="cd",
    violations={"es": -0.5},
    violation=-0.5,
    feasible=True,
    failure="no memory",
    storage_failure="no space",
    profile={"step_s": 0.5},
)


def test_flat_keys_hold_everything() -> None:
    assert all(getattr(FULL, one.name) != getattr(Report(), one.name) for one in fields(Report)), "nothing is left out"
    assert Report.of(FULL.flat()) == FULL


def test_flat_keys_are_those_of_the_table() -> None:
    flat = FULL.flat()
    assert (flat["wer/gl"], flat["loss/es"], flat["violation/es"], flat["violation"]) == (0.4, 1.0, -0.5, -0.5)
    assert FULL.wer == {"gl": 0.4, "es": 0.2}
    assert FULL.cer == {"gl": 0.2, "es": 0.1}


def test_what_is_not_known_is_left_out() -> None:
    assert Report(10).flat() == {"step": 10, "final": False, "intermediate": False, "restarts": 0}
    assert Report(10).wer == {}


def test_a_row_of_the_table_and_tunes_result_are_read_without_what_is_their_own() -> None:
    row = {"step": 10, "trial_id": "search-000", "config/weighting.alpha": 2.0, "wer/gl": None, "loss/gl": 1.5}
    assert Report.of(row) == Report(10, loss={"gl": 1.5})
    assert Report.of({"step": 10, "config": {"run": {}}, "training_iteration": 3, "objective": None}) == Report(10)


def test_nan_stays() -> None:
    assert math.isnan(Report.of({"step": 1, "wer/gl": math.nan}).wer["gl"])
