from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

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


@pytest.mark.parametrize("start", [0.07, 0.14, 0.29, 0.55])
def test_a_step_of_the_weight_is_where_it_is(searched: MadeRun, start: float) -> None:
    """As numbers, 0.07 * 100 is above 7, and 0.29 * 100 below 29."""
    run = read_run(searched.folder)
    experiment = run.experiment.model_copy(
        update={"training": run.experiment.training.model_copy(update={"steps": 100})}
    )
    run = replace(run, file=replace(run.file, experiment=experiment))
    trial = ranked(trial_points(run))[0]
    values = {**trial.values, "weighting.alpha_initial": 3.0, "weighting.ramp_start": start}
    (found,) = alpha_curves(run, [replace(trial, values=values)])
    schedule = run.file.at(values).schedules()["gl"]
    assert np.allclose(np.interp(range(101), found.steps, found.alpha), [schedule.alpha(s, 100) for s in range(101)])


def test_a_curve_holds_what_was_reported(searched: MadeRun) -> None:
    found = curve(read_run(searched.folder), "baseline-0")
    rows = searched.table.of("baseline-0")
    assert [one.step for one in found.reports] == [row["step"] for row in rows] == [0, 10, 20, 30, 40]
    assert [one.wer.get("gl") for one in found.reports] == [row.get("wer/gl") for row in rows]
    assert [one.alpha.get("gl") for one in found.reports] == [None, 1.0, 1.0, 1.0, 1.0]
    assert found.left_out == 0
