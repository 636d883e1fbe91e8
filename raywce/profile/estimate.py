"""The time of a whole search, estimated from the time of one training. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raywce.cluster.capacity import searched_at_once
from raywce.experiment.disk import lengths
from raywce.experiment.schema import Experiment
from raywce.profile.measured import Measured
from raywce.selection.comparison import looks_of
from raywce.selection.sampler_choice import chosen

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile


@dataclass(frozen=True)
class Trial:
    """Seconds of one training, by part."""

    start_and_end: float
    steps: float
    evaluations: float
    checkpoints: float

    @property
    def seconds(self) -> float:
        """Sum of the parts."""
        return self.start_and_end + self.steps + self.evaluations + self.checkpoints


@dataclass(frozen=True)
class Phase:
    """Trainings of one phase: how many, how long all of them take, and the sum of their own times."""

    name: str
    trainings: int
    seconds: float
    training_seconds: float


@dataclass(frozen=True)
class Estimate:
    """The time of a search on the nodes that were profiled.

    Attributes:
        trial: of the search phase, at its full length.
        at_once: trainings at the same time.
        phases: in order.
        connect_s: seconds before them.
        gpu_hours: of all trainings.
        cpu_hours: the same.
    """

    trial: Trial
    at_once: int
    phases: list[Phase]
    connect_s: float
    gpu_hours: float
    cpu_hours: float

    @property
    def seconds(self) -> float:
        """Seconds from start to end."""
        return self.connect_s + sum(phase.seconds for phase in self.phases)


def trial_of(experiment: Experiment, measured: Measured, dev: int, at_start: bool, share: float = 1.0) -> Trial:
    """Return the time of one training.

    Args:
        experiment: with the training's settings.
        measured: of the same settings.
        dev: utterances that an evaluation decodes.
        at_start: whether the original is evaluated too.
        share: of its steps that it does, where it may be stopped early.
    """
    training, evaluation = experiment.training, experiment.evaluation
    intermediate = _times(training.steps, training.evaluate_every)
    saved = 1 + _times(training.steps, training.checkpoint_every or training.evaluate_every)
    rate = measured.decoded_per_second
    whole = dev / rate
    languages = len(experiment.languages.decoded)
    part = languages * evaluation.intermediate_count(math.ceil(dev / languages)) / rate  # as if all had as many
    return Trial(
        start_and_end=(0.0 if experiment.resources.alone else measured.around_s)
        + measured.open_s
        + measured.first_steps_s,
        steps=share * training.steps * measured.step_s,
        evaluations=at_start * whole + share * intermediate * part + whole,
        checkpoints=share * saved * measured.save_s,
    )


def estimate(file: ExperimentFile, measured: Measured, test: int) -> Estimate:
    """Return the time of the whole search.

    Args:
        file: with distributions.
        measured: of its training.
        test: utterances of its test splits, which a confirm phase decodes.
    """
    experiment = file.experiment
    search, resources, confirm = experiment.search, experiment.resources, experiment.search.confirm
    at_once = searched_at_once(experiment, measured.nodes)
    starts = experiment.training.evaluate_at_start

    def phase(name: str, trainings: int, trial: Trial, once: float = 0.0, later: int = 0) -> Phase:
        """Return a phase of which some trainings wait for all the others."""
        batches = math.ceil((trainings - later) / at_once) + math.ceil(later / at_once)
        once += measured.around_s if experiment.resources.alone else 0.0
        return Phase(name, trainings, batches * trial.seconds + once, trainings * trial.seconds + once)

    def decoded(name: str, models: int, utterances: int) -> Phase:
        """Return a phase in which models decode a split, as many at once as trainings."""
        seconds = utterances / measured.decoded_per_second
        return Phase(name, 0, math.ceil(models / at_once) * seconds, models * seconds)

    dev = measured.dev["search" if confirm.candidates else experiment.evaluation.part]
    full = trial_of(experiment, measured, dev, starts)
    stopped = trial_of(experiment, measured, dev, starts, _share_of_steps(file))
    original = trial_of(experiment, measured, dev, True).seconds - full.seconds  # once, of the first baseline run
    phases = [phase("baseline", search.baseline_seeds, full, original), phase("search", file.trials, stopped)]
    if search.time_limit_s and phases[1].seconds > search.time_limit_s:
        within = search.time_limit_s / phases[1].seconds
        trainings, busy = round(within * file.trials), within * phases[1].training_seconds
        phases[1] = Phase("search", trainings, search.time_limit_s, busy)
    if confirm.candidates:
        trial = trial_of(experiment, measured, measured.dev["confirm"], starts)
        later = confirm.trainings - confirm.of_all(looks_of(experiment).first)
        phases.append(phase("confirm", confirm.trainings, trial, later=later))
        # Two averages, and each without one of its trainings.
        phases.append(decoded("averages", 2 * (1 + confirm.seeds), measured.dev["confirm"]))
    if confirm.candidates and confirm.test:
        # Those of the original, of all seeds of baseline and winner, and of both averages.
        phases.append(decoded("test splits", 1 + confirm.of_baseline(confirm.seeds) + confirm.seeds + 2, test))
    if measured.encoded_per_second:
        phases.insert(0, _encoder_states(experiment, measured, sum(one.trainings for one in phases)))
    hours = sum(one.training_seconds for one in phases) / 3600
    return Estimate(
        trial=full,
        at_once=at_once,
        phases=phases,
        connect_s=measured.connect_s,
        gpu_hours=hours * resources.workers * resources.gpus_per_worker,
        cpu_hours=hours * resources.workers * resources.cpus_per_worker,
    )


def _encoder_states(experiment: Experiment, measured: Measured, trainings: int) -> Phase:
    """Return the time in which each node computes the encoder states that these trainings share."""
    training, rate = experiment.training, measured.encoded_per_second or math.inf
    drawn = trainings * training.steps * training.batch_size
    seconds = (min(drawn, lengths(training.encoder_context) * measured.train) + measured.dev["all"]) / rate
    return Phase("encoder states", 0, seconds, len(measured.nodes) * seconds)


def _share_of_steps(file: ExperimentFile) -> float:
    """Return the share of all trials' steps that is trained where some trials are stopped early at each rung."""
    experiment, steps = file.experiment, file.experiment.training.steps
    ends = [*chosen(experiment, file.space).rungs, steps]
    left, before, done = 1.0, 0, 0.0
    for end in ends:
        done += left * (end - before) / steps
        left, before = left / experiment.search.reduction_factor, end
    return done


def _times(steps: int, every: int | None) -> int:
    """Return how often something is due before the last step."""
    return 0 if every is None else math.ceil(steps / every) - 1
