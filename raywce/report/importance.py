"""Importances and contours of hyperparameters by Optuna, for a study made from the table."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations

import optuna
from optuna.trial import TrialState

from raywce.report.figures import Importance, TrialPoint
from raywce.report.plots import Plot
from raywce.report.run import Run
from raywce.trial_report import Report

FEWEST_TRIALS = 4
_PAIRED = 3  # leaves, each with each other
_CONTOUR_TRIALS = 100  # a contour's grid has as many rows and columns as trials


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence Optuna's notes on experimental features and its log."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


@_quietly()
def study_of(run: Run, trials: Sequence[TrialPoint]) -> optuna.Study:
    """Return the completed trials as an Optuna study: objective in %, the limits as its constraints."""
    space = run.file.optuna_space
    study = optuna.create_study(study_name=run.experiment.name, storage=optuna.storages.InMemoryStorage())
    for trial in trials:
        report = Report.of(run.table.of(trial.trial_id)[-1])
        limits = {name: report.violations[name] for name in run.experiment.limited_languages}
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE,
                value=None if trial.objective is None else 100 * trial.objective,
                params=trial.values,
                distributions=space,
                constraints=limits,
                user_attrs={"trial_id": trial.trial_id},
            )
        )
    return study


@_quietly()
def importance(run: Run, trials: Sequence[TrialPoint]) -> Importance:
    """Return the PED-ANOVA importance of each searched key, and the pairs whose contours are drawn."""
    few = len(trials) < FEWEST_TRIALS
    shares = {} if few else dict(optuna.importance.get_param_importances(study_of(run, trials)))
    if not shares or math.isnan(sum(shares.values())):
        why = f"needs {FEWEST_TRIALS} completed trials" if few else "the trials do not differ"
        return Importance({}, len(trials), [], 0, why)
    drawn = contour_trials(trials)
    # Optuna has no contour over a key with a single value.
    varied = [path for path in shares if len({repr(trial.values.get(path)) for trial in drawn}) > 1]
    return Importance(shares, len(trials), list(combinations(varied[:_PAIRED], 2)), len(drawn), None)


def contour_trials(trials: Sequence[TrialPoint]) -> list[TrialPoint]:
    """Return all trials, or as many as a contour can show, evenly from the best to the worst."""
    return list(trials[:: math.ceil(len(trials) / _CONTOUR_TRIALS) or 1])


@_quietly()
def importance_figure(run: Run, trials: Sequence[TrialPoint]) -> Plot:
    """Return Optuna's plot of the importances."""
    from optuna.visualization import plot_param_importances

    return dict(json.loads(plot_param_importances(study_of(run, trials)).to_json()))


@_quietly()
def contour_figure(run: Run, trials: Sequence[TrialPoint], pair: tuple[str, str]) -> Plot:
    """Return Optuna's contour of the low-resource rate over two keys."""
    from optuna.visualization import plot_contour

    study = study_of(run, contour_trials(trials))
    target = run.experiment.metrics.objective_label
    return dict(json.loads(plot_contour(study, params=list(pair), target_name=target).to_json()))
