"""What a search is for, by the experiment file and the baseline's runs, and what it knows in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from raywce.evaluation.confidence import Speech
from raywce.evaluation.paired import PairedErrors, paired_errors
from raywce.experiment.alternatives import combinations
from raywce.experiment.checks import OF_BASELINE
from raywce.experiment.schema import Confirm, Experiment
from raywce.runs.tables import TrialTable
from raywce.search.sampler import Task, cube_of
from raywce.selection.limits import Rule
from raywce.selection.outcome import TrialFigures, baseline_wers, completed, references
from raywce.selection.search_model import Noise, Plan, SearchModel, World
from raywce.selection.trials import BASELINE
from raywce.storage.files import read_table
from raywce.surrogate.cube import Axis

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile
    from raywce.experiment.space import Scalar

_RESAMPLES = 1000  # for the variance over trials, which many of them share
_ANYWHERE = 0.5  # where the baseline stands on an axis that makes no difference to it
_PLAIN: Mapping[str, Scalar] = {
    "alpha": 1.0,
    "alpha_initial": 1.0,
    "alpha_final": 1.0,
    "adaptive": False,
    "strength": 0.0,
    "probability": 0.0,
    "copies": 0,
}
_AUGMENTATION = "augmentation."


def task_of(file: ExperimentFile, table: TrialTable, experiment: Experiment | None = None) -> Task:
    """Return the task of a search whose baseline has run.

    Args:
        file: the experiment with its distributions.
        table: the run folder's.
        experiment: whose rate counts; None: the file's.
    """
    experiment = experiment or file.experiment
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
    speech = [_speech(paired_errors([decoded], language, experiment.metrics.of(language))) for language in languages]
    words = np.array([one.words.sum() for one in speech], float)
    cube = cube_of(file.optuna_space)
    world = World(
        low_resource=len(low),
        rules=rules,
        fixed=np.array(fixed, float),
        words=words,
        baseline=baseline,
        at=baseline_row(file),
        choices=cube.choices,
        noise=Noise.of(baseline, words, [one.talkative_speakers for one in speech]),
        relative=experiment.metrics.is_relative,
    )
    return Task(languages, world, _plan(confirm) if confirm.candidates else None, file.trials)


def _plan(confirm: Confirm) -> Plan:
    speech = (1 - confirm.dev_share) / confirm.dev_share
    return Plan(confirm.seeds, confirm.of_baseline(confirm.seeds), confirm.confidence, speech)


@dataclass(frozen=True)
class Known:
    """What a finished search knows, by one rate.

    Attributes:
        model: fitted to its complete trials, or to a grid's settings.
        plan: of the confirm phase.
        rows: (n, axes) of those settings.
    """

    model: SearchModel
    plan: Plan
    rows: NDArray[np.float64]


def known_of(file: ExperimentFile, table: TrialTable, experiment: Experiment) -> Known:
    """Return what a search that has ended knows of all settings.

    Args:
        file: the experiment with its distributions.
        table: the run folder's, with complete trials.
        experiment: whose rate counts: the file's, or the same by the plain rate.
    """
    task, done = task_of(file, table, experiment), completed(table, experiment)
    cube = cube_of(file.optuna_space)
    rows = np.array([cube.row(one.values) for one in done])
    rates = np.array([[one.wer[of] for of in task.languages] for one in done])
    world = replace(task.world, noise=_with_suits(task, table, done, experiment))
    model = SearchModel.fit(world, rows, rates, trainings=len(done[0].trial_ids))
    return Known(model, _plan(experiment.search.confirm), rows)


def _with_suits(task: Task, table: TrialTable, done: Sequence[TrialFigures], experiment: Experiment) -> Noise:
    """Return the noise, with which setting suits which speakers by what baseline and trials decoded."""
    baseline = [row["utterances"] for row in table.last_rows(BASELINE)]
    trials = [table.of(one.trial_ids[0])[-1]["utterances"] for one in done]
    tables = [read_table(uri) for uri in (*baseline, *trials)]
    rates, speakers = [], []
    for language in task.languages:
        paired = paired_errors(tables, language, experiment.metrics.of(language))
        speech = replace(_speech(paired), resamples=_RESAMPLES, seed=experiment.search.seed)
        rates.append(speech.rates(paired.errors))
        speakers.append(speech.talkative_speakers)
    count = len(baseline)
    baseline_rates, trial_rates = [one[:count] for one in rates], [one[count:] for one in rates]
    return task.world.noise.with_suits(baseline_rates, trial_rates, task.world.words, speakers)


def _speech(paired: PairedErrors) -> Speech:
    return Speech(paired.words, paired.speakers)


def baseline_row(file: ExperimentFile) -> NDArray[np.float64]:
    """Return where the baseline stands in the space (axes,), also beyond its bounds; NaN where it is none of it.

    It is none where no setting trains as it does, as with augmentation that is fixed or a weight that is always
    adaptive. Put anywhere, its rates would be measurements of that setting, and trials near it would speak for the
    baseline: both would hide by how much they differ. By NaN it is known by its own trainings alone, and settings by
    the trials. Their difference is then free of what was assumed, so that the trials may confirm.
    """
    cube = cube_of(file.optuna_space)
    plain = {path: _plain(path, axis, file.experiment.search.baseline) for path, axis in cube.axes.items()}
    for levels in combinations(file.experiment.search.alternatives):
        experiment = file.beyond(plain | levels)
        if file.is_baseline(experiment) and not _jumps(file, experiment):
            return cube.row(plain | levels)
    return np.full(len(cube.axes), np.nan)


def _plain(path: str, axis: Axis, baseline: Mapping[str, Scalar]) -> Scalar:
    """Return the baseline's value of an axis; where it has none, any."""
    leaf = path.rpartition(".")[2]
    if path.startswith(OF_BASELINE):
        return baseline[path]
    if leaf in _PLAIN and not np.isnan(axis.coordinate(_PLAIN[leaf])):
        return _PLAIN[leaf]
    return axis.value(_ANYWHERE) if axis.choices is None else axis.choices[0]


def _jumps(file: ExperimentFile, experiment: Experiment) -> bool:
    """Return whether the least augmentation beside none is another training, as copies count in the shares."""
    searched = any(path.startswith(_AUGMENTATION) for path in file.leaves)
    return searched and experiment.data.sampling.shares is None and experiment.augmentation.copies not in (0, "all")
