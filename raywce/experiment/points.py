"""The paper's published settings as the first points of a search, in terms of the leaves that the file searches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from raywce.errors import Problem
from raywce.experiment.augmentation_schema import Augmentation
from raywce.experiment.checks import OF_BASELINE
from raywce.experiment.schema import Weighting
from raywce.experiment.space import Distribution, Scalar, Space
from raywce.experiment.text import shown
from raywce.weighting import AlphaSchedule

# arXiv 2409.16954 and its released script: kind, the setting, and how people call it.
PUBLISHED = (
    ("constant", "constant alpha 2", AlphaSchedule(2.0, 2.0)),
    (
        "linear_progressive",
        "linear progressive alpha 2 to 5",
        AlphaSchedule(2.0, 5.0, ramp_start=0.5, ramp_fraction=1.0),
    ),
    ("dynamic", "dynamic alpha 1.5", AlphaSchedule(1.5, 1.5, adaptive=True)),
)
_AUGMENTATION = "augmentation."


@dataclass(frozen=True)
class FirstPoints:
    """First points of a search.

    Attributes:
        points: values of the searched leaves, one mapping a point.
        notes: what was left out, and why.
        problems: what is wrong.
    """

    points: list[dict[str, Scalar]]
    notes: list[str]
    problems: list[Problem]


def published(weighting: Weighting, space: Space, baseline: Mapping[str, Scalar]) -> FirstPoints:
    """Return the published settings that the file's weighting can express.

    Args:
        weighting: the file's weighting; its fixed leaves may exclude a setting, which is then noted and left out.
        space: the searched leaves.
        baseline: values of the searched leaves that the baseline has too.
    """
    found = FirstPoints([], [], [])
    for kind, name, setting in PUBLISHED:
        if weighting.kind not in (kind, "family"):
            continue
        excluded = list(_excluding(weighting, space, setting))
        if excluded:
            found.notes.append(f"published {name} is not among the first points: {', '.join(excluded)}")
            continue
        point = {path: _value(path, setting, baseline, distribution) for path, distribution in space.items()}
        found.problems.extend(_outside(name, point, space))
        found.points.append(in_draws(point, space))
    if found.points:
        found.notes.extend(_not_the_papers(space))
    elif not found.notes:
        found.notes.append(f"no published setting is of weighting kind {weighting.kind}: no first points")
    return found


def in_draws(point: Mapping[str, Scalar], space: Space) -> dict[str, Scalar]:
    """Return the point with each value that its distribution holds in the type of its draws."""
    return {
        path: distribution.as_drawn(point[path])
        for path, distribution in space.items()
        if path in point and distribution.holds(point[path])
    }


def _outside(name: str, point: Mapping[str, Scalar], space: Space) -> Iterator[Problem]:
    for path, value in point.items():
        if value is not None and not space[path].holds(value):
            of_baseline = "search.baseline's value, which the first points take"
            whose = of_baseline if path.startswith(OF_BASELINE) else f"published {name}"
            do = "Widen it, or set search.points: none"
            yield Problem(path, f"must hold {shown(value)} ({whose})", str(space[path]), do)


def _not_the_papers(space: Space) -> Iterator[str]:
    """Yield where the paper's augmentation cannot be drawn; the published weights are tried nevertheless."""
    for path, distribution in space.items():
        paper = _paper_value(path)
        if path.startswith(_AUGMENTATION) and not distribution.holds(paper):
            why = "as the paper has none" if paper is None else f"the nearest to the paper's {shown(paper)}"
            yield f"the first points have {path} = {shown(distribution.nearest(paper))}, {why}"


def _paper_value(path: str) -> Scalar:
    value: Any = Augmentation(preset="paper")
    for key in path.removeprefix(_AUGMENTATION).split("."):
        value = getattr(value, key, None)
    return value if isinstance(value, Scalar) else None


def _excluding(weighting: Weighting, space: Space, setting: AlphaSchedule) -> Iterator[str]:
    for path, value in _leaves(weighting):
        if path.endswith(".ratio_cap") and setting.adaptive:  # the paper's gate has none
            if path in space and not space[path].holds(None):
                yield f"{path} has no null"
            elif path not in space and value is not None:
                yield f"{path} is fixed at {value}, not null"
            continue
        wanted = _wanted(path, setting)
        if wanted is not None and path not in space and value != wanted:
            yield f"{path} is fixed at {value}, not {wanted}"


def _leaves(weighting: Weighting) -> Iterator[tuple[str, Any]]:
    for name, value in weighting:
        if name == "languages":
            for language, own in value.items():
                yield from ((f"weighting.languages.{language}.{key}", alpha) for key, alpha in own)
        else:
            yield f"weighting.{name}", value


def _wanted(path: str, setting: AlphaSchedule) -> float | bool | None:
    """Return the setting's value of a weighting leaf; None where any value gives the same weights."""
    leaf = path.rpartition(".")[2]
    if leaf == "alpha":
        return setting.alpha_final
    if leaf == "ramp_fraction" and setting.alpha_initial == setting.alpha_final:
        return None
    wanted: float | bool | None = getattr(setting, leaf, None)
    return wanted


def _value(path: str, setting: AlphaSchedule, baseline: Mapping[str, Scalar], distribution: Distribution) -> Scalar:
    if path.startswith(OF_BASELINE):
        return baseline.get(path)
    if path.startswith(_AUGMENTATION):
        return distribution.nearest(_paper_value(path))
    wanted = _wanted(path, setting)
    if path.endswith(".ratio_cap") and distribution.holds(None):
        return None
    if wanted is None:  # of the values that make no difference, the one nearest to a step
        return 0.0 if distribution.holds(0.0) else distribution.values[0]
    return wanted
