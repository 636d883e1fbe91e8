from __future__ import annotations

import numpy as np

from raywce.report.run import read_run
from raywce.report.trials import alpha_curves, curve, ranked, trial_points
from tests.report.made_runs import STEPS, MadeRun


def test_between_its_turns_a_schedule_is_straight(searched: MadeRun) -> None:
    run = read_run(searched.folder)
    trials = ranked(trial_points(run))
    found = alpha_curves(run, trials)
    assert [one.trial_id for one in found] == [trial.trial_id for trial in trials]
    for one, trial in zip(found, trials, strict=True):
        schedule = run.file.at(trial.values).schedules()["gl"]
        steps = range(STEPS + 1)
        assert np.allclose(np.interp(steps, one.steps, one.alpha), [schedule.alpha(s, STEPS) for s in steps])
        assert one.adaptive == trial.values["weighting.adaptive"]


def test_a_curve_holds_what_was_reported(searched: MadeRun) -> None:
    found = curve(read_run(searched.folder), "baseline-0")
    rows = searched.table.of("baseline-0")
    assert [one.step for one in found.reports] == [row["step"] for row in rows] == [0, 10, 20, 30, 40]
    assert [one.wer.get("gl") for one in found.reports] == [row.get("wer/gl") for row in rows]
    assert [one.alpha.get("gl") for one in found.reports] == [None, 1.0, 1.0, 1.0, 1.0]
    assert found.left_out == 0
