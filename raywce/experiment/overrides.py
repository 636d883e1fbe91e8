"""`key=value` on the command line: a leaf or a whole section of the experiment file, replaced."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from raywce.errors import InputError, Problems, fail
from raywce.experiment import text
from raywce.experiment.text import Tree

# Below so many keys, a key is a dotted key path itself.
_KEYED_BY_PATH = {"search.baseline.": 2, "search.alternatives.": 4}


def put_in(tree: Tree, overrides: Sequence[str], problems: Problems) -> Tree:
    """Return a copy of `tree` with each override put in, in their order; what is malformed goes into `problems`."""
    out = copy.deepcopy(tree)
    for override in overrides:
        try:
            _put(out, override)
        except InputError as error:
            problems.found.extend(error.problems)
    return out


def keys_of(path: str) -> list[str]:
    """Return the keys that a dotted key path passes."""
    above = next((count for prefix, count in _KEYED_BY_PATH.items() if path.startswith(prefix)), -1)
    return path.split(".", above)


def _put(tree: Tree, override: str) -> None:
    path, equals, value = override.partition("=")
    path = path.strip()
    if not equals or not all(keys_of(path)):
        fail(override, "an override must be KEY=VALUE", do="For instance weighting.alpha=2")
    *sections, last = keys_of(path)
    node = tree
    for depth, key in enumerate(sections):
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            above = ".".join(sections[: depth + 1])
            rule = f"{above} must be a section for a key to be put in"
            fail(path, rule, text.shown(node), f"Give {above}={{…}} whole")
    node[last] = text.parse(value, f"override {path}")
