"""Alternatives: named changes to the experiment file, each factor of them one more dimension of the search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations as subsets
from itertools import product
from math import prod
from typing import Any, TypeVar

from raywce.errors import Problem
from raywce.experiment.space import Distribution, Scalar, Space, may_be_searched
from raywce.experiment.text import Tree, shown
from raywce.experiment.validation import put

AT = "search.alternatives"
T = TypeVar("T")
Changes = Mapping[str, Any]
Alternatives = Mapping[str, Mapping[str, Changes]]
_WHOLE_SECTIONS = ("weighting", "augmentation", "data.sampling.shares")
_WHERE = (
    "A level may change weighting, augmentation or data.sampling.shares as a whole, and the leaves that a distribution "
    "may stand in; "
    "all else is shared with the baseline"
)
_MOST = 1000  # combinations of levels: each is checked before anything is started


def dimensions(alternatives: Alternatives) -> dict[str, Distribution]:
    """Return a choice of its levels for each factor."""
    return {factor: Distribution("choice", tuple(levels)) for factor, levels in alternatives.items()}


def combinations(dimensions: Mapping[str, Iterable[T]]) -> Iterator[dict[str, T]]:
    """Yield every combination of values, the last key's changing fastest; an empty one where there is no dimension.

    Alternatives have their factors' levels as values, and a grid the values of its space.
    """
    for values in product(*dimensions.values()):
        yield dict(zip(dimensions, values, strict=True))


def changes(alternatives: Alternatives, values: Mapping[str, Scalar]) -> Tree:
    """Return what the levels in `values` change: key path to value."""
    chosen = [levels[str(values[factor])] for factor, levels in alternatives.items()]
    return {path: value for changed in chosen for path, value in changed.items()}


def with_folders(value: object, resolved: Callable[[str], str]) -> object:
    """Return `value` with each `folder` of recordings in it resolved."""
    if not isinstance(value, dict):
        return value
    return {
        key: resolved(inner) if key == "folder" and isinstance(inner, str) else with_folders(inner, resolved)
        for key, inner in value.items()
    }


def problems(
    tree: Tree, alternatives: Alternatives, leaves: Space, check: Callable[[Tree], list[Problem]]
) -> list[Problem]:
    """Return everything that is wrong with the levels, and with the experiments that they make of the file.

    Args:
        tree: the file, with a value in every leaf.
        alternatives: of the file.
        leaves: its searched leaves.
        check: finds the problems of a tree; those that the file has without any level are not repeated.
    """
    found = [*_misplaced(tree, alternatives, leaves), *_overlapping(alternatives)]
    count = prod(map(len, alternatives.values()))
    if count > _MOST:
        found.append(
            Problem(AT, f"must have at most {_MOST} combinations of levels", str(count), "Take out factors or levels")
        )
    elif alternatives:
        known, sound = set(check(tree)), _without(alternatives, {problem.path for problem in found})
        for levels in combinations(sound):
            for problem in check(put(tree, changes(sound, levels))):
                if problem not in known:
                    found += _of_levels(problem, sound, levels)
    return list(dict.fromkeys(found))


def _without(alternatives: Alternatives, broken: set[str]) -> Alternatives:
    """Return the changes that can be put into the file, whose outcome can be checked."""
    return {
        factor: {
            level: {path: value for path, value in changed.items() if f"{AT}.{factor}.{level}.{path}" not in broken}
            for level, changed in levels.items()
        }
        for factor, levels in alternatives.items()
    }


def _misplaced(tree: Tree, alternatives: Alternatives, leaves: Space) -> Iterator[Problem]:
    for factor, levels in alternatives.items():
        if "." in factor:
            yield Problem(f"{AT}.{factor}", "must have a name without a dot, which key paths have", factor)
        for level, changed in levels.items():
            at = f"{AT}.{factor}.{level}"
            for path in changed:
                if not ((path in _WHOLE_SECTIONS or may_be_searched(path)) and _can_be_put(tree, path)):
                    yield Problem(f"{at}.{path}", "must be a key path that a level may change", path, _WHERE)
                for leaf in [leaf for leaf in leaves if _overlap(leaf, path)]:
                    do = "Give it a value in the file, or take it out of the level"
                    yield Problem(f"{at}.{path}", f"must not change {leaf}, which is searched", str(leaves[leaf]), do)
            yield from _repeated(at, level, levels)


def _repeated(at: str, level: str, levels: Mapping[str, Changes]) -> Iterator[Problem]:
    paths = list(levels[level])
    for index, path in enumerate(paths):
        for other in [other for other in paths[:index] if _overlap(path, other)]:
            yield Problem(f"{at}.{path}", f"must not change what {other} of the same level changes")
    for other, changed in levels.items():
        if other == level:
            return
        if changed == levels[level]:
            yield Problem(at, f"must differ from level {other}", shown(changed))


def _overlapping(alternatives: Alternatives) -> Iterator[Problem]:
    for factor, other in subsets(alternatives, 2):
        taken = {path for changed in alternatives[factor].values() for path in changed}
        for level, changed in alternatives[other].items():
            for path in [path for path in changed if any(_overlap(path, one) for one in taken)]:
                yield Problem(f"{AT}.{other}.{level}.{path}", f"must not change what factor {factor} changes")


def _of_levels(problem: Problem, alternatives: Alternatives, levels: Mapping[str, str]) -> list[Problem]:
    """Return the problem at each level that changes what it is about, or as it is where none does."""
    at = [
        f"{AT}.{factor}.{level}"
        for factor, level in levels.items()
        if any(_overlap(problem.path, path) for path in alternatives[factor][level])
    ]
    return [replace(problem, path=f"{place}.{problem.path}") for place in at] or [problem]


def _overlap(one: str, other: str) -> bool:
    """Return whether one of two key paths is the other, or holds it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _can_be_put(tree: Tree, path: str) -> bool:
    node: object = tree
    for key in path.split(".")[:-1]:
        if not isinstance(node, dict):
            return False
        node = node.get(key, {})
    return isinstance(node, dict)
