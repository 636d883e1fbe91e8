from __future__ import annotations

import numpy as np

from raywce.report.curves import alpha_curves, curves
from raywce.report.run import read_run
from raywce.report.trials import ranked, trial_points
from raywce.runs.tables import as_drawn
from tests.report.made_runs import STEPS, MadeRun


def test_between_its_turns_a_schedule_is_straight(searched: MadeRun) -> None:
    run = read_run(searched.folder)
    trials = ranked(trial_points(run))
    found = alpha_curves(run, trials)
    assert [curve.trial_id for curve in found] == [trial.trial_id for trial in trials]
    for curve, trial in zip(found, trials, strict=True):
        schedule = run.file.at(as_drawn(trial.values, searched.space)).schedules()["gl"]
        steps = range(STEPS + 1)
        assert np.allclose(np.interp(steps, curve.steps, curve.alpha), [schedule.alpha(s, STEPS) for s in steps])
        assert curve.adaptive == trial.values["weighting.adaptive"]


def test_curves_hold_what_was_reported(searched: MadeRun) -> None:
    (curve,) = curves(read_run(searched.folder), ["baseline-0"])
    rows = searched.table.of("baseline-0")
    assert [one.step for one in curve.reports] == [row["step"] for row in rows] == [0, 10, 20, 30, 40]
    assert [one.wer.get("gl") for one in curve.reports] == [row.get("wer/gl") for row in rows]
    assert [one.alpha.get("gl") for one in curve.reports] == [None, 1.0, 1.0, 1.0, 1.0]
    assert curve.left_out == 0
