"""Settings whose weights in force are the same at every step: one training under several names.

A loss ratio above every alpha of an adaptive weight is the weight itself, so that all those alphas are one training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raywce.experiment.schema import Experiment, NoWeighting

Ratios = Sequence[float | None]
"""Loss ratio of each step of a training (`raywce.weighting.LossSums.ratio`)."""

Training = tuple[Experiment, Ratios]
"""A training's setting, and its loss ratios."""


def train_alike(one: Experiment, other: Experiment, ratios: Ratios) -> bool:
    """Return whether two settings are one training but for its seed.

    They are where nothing but the weighting differs, and its weights are the same at every step: from the first step
    on, the second then has the losses, and so the ratios, of the first.

    Args:
        one: a setting.
        other: another.
        ratios: of a training of one of them; without those of all steps, only equal schedules are known to be alike.
    """
    steps = one.training.steps
    if _beside_weights(one) != _beside_weights(other):
        return False
    schedules, others = one.schedules(), other.schedules()
    if len(ratios) != steps:
        return schedules == others
    pairs = [(schedule, others[language]) for language, schedule in schedules.items()]
    return all(
        first.in_force(step, steps, ratio) == second.in_force(step, steps, ratio)
        for step, ratio in enumerate(ratios)
        for first, second in pairs
    )


def alike(trainings: Mapping[str, Training]) -> dict[str, list[str]]:
    """Return the trainings by name that no earlier one is like, each with the later ones that are like it."""
    found: dict[str, list[str]] = {}
    for name, (setting, _) in trainings.items():
        like = (first for first in found if train_alike(trainings[first][0], setting, trainings[first][1]))
        first = next(like, name)
        found.setdefault(first, []).extend([name] if first != name else [])
    return found


def distinct(wers: Mapping[str, Mapping[str, float | None]], trainings: Mapping[str, Training]) -> list[str]:
    """Return the trainings by name, in the order of `wers`, each but once.

    Those of one seed from before ratios were recorded are known by the same WER in every language.
    """
    firsts = alike({name: trainings[name] for name in wers})
    found: list[str] = []
    for name in firsts:
        if all(wers[name] != wers[other] for other in found):
            found.append(name)
    return found


def alike_notes(trainings: Mapping[str, Training]) -> list[str]:
    """Return a note for each training that was done several times."""
    return [
        f"{', '.join([first, *others])}: one training but for the seed, as their weights are the same at every step"
        for first, others in alike(trainings).items()
        if others
    ]


def _beside_weights(experiment: Experiment) -> tuple[Experiment, str, bool]:
    """Return the setting without its weighting, and how weights act on a batch."""
    scope = experiment.weighting.scope
    # What an adaptive weight of `batch` multiplies is another share of the batch.
    adaptive = scope == "batch" and any(schedule.adaptive for schedule in experiment.schedules().values())
    training = experiment.training.model_copy(update={"seed": 0})
    return experiment.model_copy(update={"weighting": NoWeighting(), "training": training}), scope, adaptive
