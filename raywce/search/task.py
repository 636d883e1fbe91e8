"""What the noise-aware sampler searches for, by the experiment file and the baseline's runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from raywce.evaluation.confidence import Speech
from raywce.evaluation.paired import paired_errors
from raywce.experiment.checks import OF_BASELINE
from raywce.runs.tables import TrialTable
from raywce.search.sampler import Task, cube_of
from raywce.selection.limits import Rule
from raywce.selection.outcome import baseline_wers, references
from raywce.selection.search_model import Noise, Plan, World
from raywce.selection.trials import BASELINE
from raywce.storage.files import read_table
from raywce.surrogate.cube import Cube

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile
    from raywce.experiment.space import Scalar

_ANYWHERE = 0.5  # where the baseline stands on an axis that makes no difference to it
_PLAIN: Mapping[str, Scalar] = {
    "alpha": 1.0,
    "alpha_initial": 1.0,
    "alpha_final": 1.0,
    "adaptive": False,
    "ratio_cap": None,
    "strength": 0.0,
    "probability": 0.0,
}


def task_of(file: ExperimentFile, table: TrialTable) -> Task:
    """Return the task of a search whose baseline has run."""
    experiment = file.experiment
    confirm, constraints = experiment.search.confirm, experiment.search.constraints
    low, limited = experiment.languages.low_resource, experiment.limited_languages
    languages = [*low, *limited]
    baseline = np.array([[wers[of] for of in languages] for wers in baseline_wers(table, experiment)])
    found = references(table, experiment).limits
    rules = [Rule.of(constraints, language) for language in limited]
    fixed = [
        np.nan if rule.reference == "baseline" else found[language]
        for rule, language in zip(rules, limited, strict=True)
    ]
    decoded = read_table(table.last_rows(BASELINE)[0]["utterances"])
    words, speakers = [], []
    for language in languages:
        paired = paired_errors([decoded], language, experiment.metric)
        words.append(paired.words.sum())
        speakers.append(Speech(paired.words, paired.speakers).talkative_speakers)
    cube = cube_of(file.optuna_space)
    world = World(
        low_resource=len(low),
        rules=rules,
        fixed=np.array(fixed, float),
        words=np.array(words, float),
        baseline=baseline,
        at=baseline_row(cube, experiment.search.baseline),
        choices=cube.choices,
        noise=Noise.of(baseline, np.array(words, float), speakers),
    )
    share = confirm.dev_share
    return Task(languages, world, Plan(confirm.seeds, confirm.seeds, confirm.confidence, (1 - share) / share))


def baseline_row(cube: Cube, values: Mapping[str, Scalar]) -> NDArray[np.float64]:
    """Return where the baseline stands in the space: its own values, weights of 1, no augmentation.

    Args:
        cube: the space.
        values: the baseline's, of leaves that are searched and that it has (`search.baseline`).
    """
    row = []
    for path, axis in cube.axes.items():
        leaf = path.rpartition(".")[2]
        if path.startswith(OF_BASELINE) and path in values:
            row.append(axis.coordinate(values[path]))
        elif axis.choices is not None or _PLAIN.get(leaf) is not None:
            row.append(axis.coordinate(_PLAIN.get(leaf)))
        else:
            row.append(_ANYWHERE)
    return np.array(row)
