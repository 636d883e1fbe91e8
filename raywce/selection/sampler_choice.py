"""Choice of the sampler that draws the trials, and of the steps at which they may be stopped early."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from raywce import numbers
from raywce.experiment.rungs import first_rung, rungs, same_until
from raywce.experiment.schema import Experiment
from raywce.experiment.space import Space

SamplerKind = Literal["noise_aware", "gp", "tpe", "random", "grid"]


@dataclass(frozen=True)
class Choice:
    """Choice of how a search draws and stops its trials.

    Attributes:
        sampler: what draws.
        rungs: steps at which a trial may be stopped early; empty: each trial has its full length.
        why: the reason, in plain words.
    """

    sampler: SamplerKind
    rungs: tuple[int, ...]
    why: str

    def __str__(self) -> str:
        if not self.rungs:
            return f"Sampler {self.sampler}, each trial at its full length: {self.why}."
        steps = ", ".join(map(str, self.rungs))
        return f"Sampler {self.sampler}, trials may be stopped early at step {steps}: {self.why}."


def chosen(experiment: Experiment, space: Space) -> Choice:
    """Return what `search.sampler` and `search.early_stopping` lead to; `auto` decides by what stopping early saves.

    Args:
        experiment: one that has passed the checks.
        space: the searched leaves.
    """
    search, steps = experiment.search, experiment.training.steps
    asked = search.sampler
    if not search.early_stopping:
        return Choice("noise_aware" if asked == "auto" else asked, (), "search.early_stopping is false")
    found = rungs(experiment.training, experiment.weighting, space, search.reduction_factor)
    if asked != "auto":
        return Choice(asked, found, _survivors(experiment))
    declined = _why_declined(experiment, space)
    if declined:
        return Choice("noise_aware", (), f"search.early_stopping is declined, as {declined}")
    why = f"the first of them is within half of the {steps} steps; {_survivors(experiment)}"
    return Choice("tpe", found, why)


def _why_declined(experiment: Experiment, space: Space) -> str | None:
    """Return why stopping early saves too little: a Gaussian process learns nothing from trials that were stopped."""
    training = experiment.training
    if training.evaluate_every is None or training.evaluate_every >= training.steps:
        return "there is no evaluation before the end (training.evaluate_every)"
    first = first_rung(training, experiment.weighting, space)
    if first > training.steps / 2:
        alike = same_until(training, experiment.weighting, space)
        return (
            f"the first evaluation at which trials differ is at step {first} of {training.steps}: at most "
            f"{numbers.percent((training.steps - first) / training.steps, digits=0)} % of a training could be saved "
            f"(weighting.ramp_start and warmup_steps reach to step {alike:g})"
        )
    return None


def _survivors(experiment: Experiment) -> str:
    return f"about one in {experiment.search.reduction_factor:g} continues after each, feasible ones first"
