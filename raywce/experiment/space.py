"""Distributions: what a leaf of the file may hold in place of a value, for a search to draw from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, cast, get_args

from raywce.errors import Problems
from raywce.experiment.text import Tree, shown

if TYPE_CHECKING:
    import optuna

Scalar = bool | int | float | str | None
Kind = Literal["uniform", "loguniform", "int", "choice"]
KINDS = get_args(Kind)
WHERE = (
    "A distribution may stand in a leaf under weighting (not kind, not scope), under augmentation "
    "(not preset, not languages, not folder), under training.optimizer, under model.lora (not targets), in "
    "data.sampling.temperature and in a language's data.sampling.shares"
)
_LEAF = r"(?!kind$|scope$|languages$)[^.]+"
_SEARCHABLE = re.compile(
    rf"weighting\.{_LEAF}|weighting\.languages\.[^.]+\.{_LEAF}"
    r"|augmentation\.(?!preset$|languages$)[^.]+|augmentation\.[^.]+\.(?!folder$)[^.]+"
    r"|training\.optimizer\.[^.]+|model\.lora\.(?!targets$)[^.]+|data\.sampling\.temperature|data\.sampling\.shares\.[^.]+"
)


@dataclass(frozen=True)
class Distribution:
    """One searched leaf's values.

    Attributes:
        kind: `uniform`, `loguniform` or `int` between two bounds, both included; `choice` of the values listed.
        values: the two bounds, or what is chosen from.
    """

    kind: Kind
    values: tuple[Scalar, ...]

    def __str__(self) -> str:
        return f"{{{self.kind}: [{', '.join(shown(value) for value in self.values)}]}}"

    def as_yaml(self) -> dict[str, list[Scalar]]:
        """Return it as the file has it."""
        return {self.kind: list(self.values)}

    def holds(self, value: Scalar) -> bool:
        """Return whether `value` can be drawn."""
        if self.kind == "choice":
            return any(_same(value, choice) for choice in self.values)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        low, high = self.values
        return (self.kind != "int" or value == int(value)) and low <= value <= high  # type: ignore[operator]

    def listed(self) -> tuple[Scalar, ...]:
        """Return every value of a choice, or of whole numbers; of the others, the bounds."""
        if self.kind != "int":
            return self.values
        low, high = self.values
        return tuple(range(low, high + 1))  # type: ignore[arg-type, operator]

    def as_drawn(self, value: Scalar) -> Scalar:
        """Return `value`, which it holds, in the type of its draws: 2 from `uniform` is 2.0."""
        if self.kind == "choice":
            return next(choice for choice in self.values if _same(value, choice))
        return int(value) if self.kind == "int" else float(value)  # type: ignore[arg-type]

    def nearest(self, value: Scalar) -> Scalar:
        """Return `value` where it can be drawn, else the bound or choice nearest to it; the first where none is."""
        if self.holds(value):
            return value
        numbers = [held for held in self.values if _is_number(held)]
        if not numbers or not _is_number(value):
            return self.values[0]
        return min(numbers, key=lambda held: abs(held - value))

    def to_optuna(self) -> optuna.distributions.BaseDistribution:
        """Return the same for Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution(self.values)
        if self.kind == "int":
            return IntDistribution(*self.values)
        return FloatDistribution(*self.values, log=self.kind == "loguniform")


Space = Mapping[str, Distribution]


def largest(path: str, value: Scalar, space: Space) -> float:
    """Return the largest number that a leaf can have, where `value` is what it has if it is not searched."""
    values = space[path].values if path in space else (value,)
    # What is no number is reported as such, by the models.
    return max((float(value) for value in values if isinstance(value, (int, float))), default=0.0)


def may_be_searched(path: str) -> bool:
    """Return whether a distribution may stand at this dotted key path."""
    return _SEARCHABLE.fullmatch(path) is not None


def take_out(tree: object, problems: Problems, path: str = "") -> tuple[Any, dict[str, Distribution], set[str]]:
    """Part a file's tree into one with a value in every leaf and the distributions that stood there.

    Returns:
        The tree, each distribution replaced by its first value; the distributions by dotted key path; the key paths
        of malformed or misplaced ones, which are missing in the tree and have been added to `problems`.
    """
    space: dict[str, Distribution] = {}
    broken: set[str] = set()
    if not isinstance(tree, dict):
        return tree, space, broken
    out = {}
    for key, value in tree.items():
        at = f"{path}.{key}" if path else key
        if not _is_distribution(at, value):
            out[key], inner, inner_broken = take_out(value, problems, at)
            space |= inner
            broken |= inner_broken
        elif (distribution := _read(at, value, problems)) is None:
            broken.add(at)
        else:
            space[at] = distribution
            out[key] = distribution.values[0]
    return out, space, broken


def _is_distribution(path: str, value: object) -> bool:
    if not isinstance(value, dict) or not set(value) & set(KINDS):
        return False
    # `int` is a language's code as well; only a distribution has a list there.
    return may_be_searched(path) or (len(value) == 1 and isinstance(next(iter(value.values())), list))


def _read(path: str, value: Tree, problems: Problems) -> Distribution | None:
    if not may_be_searched(path):
        problems.add(path, "must be a value, not a distribution", shown(value), WHERE)
        return None
    if len(value) != 1:
        problems.add(path, f"a distribution must be one of {', '.join(KINDS)}", shown(value))
        return None
    kind, values = next(iter(value.items()))
    rule = _choice_rule(values) if kind == "choice" else _bounds_rule(kind, values)
    if rule:
        problems.add(path, f"{kind} {rule}", shown(values))
        return None
    if kind in ("uniform", "loguniform"):
        values = [float(bound) for bound in values]
    return Distribution(cast(Kind, kind), tuple(values))


def _choice_rule(values: object) -> str:
    if not isinstance(values, list) or not values:
        return "must list at least one value"
    if not all(value is None or isinstance(value, (bool, int, float, str)) for value in values):
        return "must list plain values"
    if any(_same(a, b) for i, a in enumerate(values) for b in values[:i]):
        return "must list each value once"
    return ""


def _bounds_rule(kind: str, values: object) -> str:
    whole = kind == "int"
    if not isinstance(values, list) or len(values) != 2 or not all(_is_number(value, whole) for value in values):
        return f"must have two {'whole ' if whole else ''}numbers, [lowest, highest]"
    if values[0] >= values[1]:
        return "must have a lowest number below the highest; a single one is written without a distribution"
    if kind == "loguniform" and values[0] <= 0:
        return "must have bounds greater than 0"
    return ""


def _is_number(value: object, whole: bool = False) -> TypeGuard[float]:
    if isinstance(value, bool) or (whole and isinstance(value, float)):
        return False
    return isinstance(value, (int, float)) and math.isfinite(value)


def _same(a: Scalar, b: Scalar) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)
