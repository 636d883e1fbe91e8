from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from raywce.report.importance import FEWEST_TRIALS, contour_trials, importance, study_of
from raywce.report.run import read_run
from raywce.report.trials import ranked, trial_points
from tests.report.made_runs import MadeRun


def test_the_study_holds_the_completed_trials_and_their_limits(searched: MadeRun) -> None:
    run = read_run(searched.folder)
    trials = ranked(trial_points(run))
    study = study_of(run, trials)
    assert len(study.trials) == 8  # of ten, one failed and one was stopped early
    for stored, trial in zip(study.trials, trials, strict=True):
        row = searched.table.of(trial.trial_id)[-1]
        assert stored.value == pytest.approx(100 * row["wer/gl"])
        assert stored.params == trial.values
        assert stored.constraints == {"es": row["violation/es"], "pt": row["violation/pt"]}
    assert importance(run, trials).shares == optuna.importance.get_param_importances(study)


def test_too_few_trials_have_no_importance(searched: MadeRun) -> None:
    run = read_run(searched.folder)
    found = importance(run, ranked(trial_points(run))[: FEWEST_TRIALS - 1])
    assert (found.shares, found.pairs) == ({}, [])
    assert str(FEWEST_TRIALS) in (found.why_not or "")


def test_contours_take_trials_evenly_from_best_to_worst(searched: MadeRun) -> None:
    one = trial_points(read_run(searched.folder))[0]
    many = [replace(one, trial_id=str(index)) for index in range(1000)]
    taken = [int(trial.trial_id) for trial in contour_trials(many)]
    assert len(taken) == 100
    assert taken == list(range(0, 1000, 10))
    assert len(contour_trials(many[:100])) == 100
