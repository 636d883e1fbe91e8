"""`key=value` on the command line: a leaf or a whole section of the experiment file, replaced."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from raywce.errors import InputError, Problems, fail
from raywce.experiment import text
from raywce.experiment.schema import Experiment
from raywce.experiment.space import KINDS
from raywce.experiment.text import Tree
from raywce.storage.files import is_utf8

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
    if not is_utf8(override):
        fail(path, "must be UTF-8", value)
    *sections, last = keys_of(path)
    node = tree
    for depth, key in enumerate(sections):
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            above = ".".join(sections[: depth + 1])
            rule = f"{above} must be a section for a key to be put in"
            fail(path, rule, text.shown(node), f"Give {above}={{…}} whole")
    node[last] = _parsed(value, path)


def _parsed(value: str, path: str) -> object:
    """Return the value of the leaf at a dotted key path: text as it is where the leaf holds text, else what YAML says.

    A leaf of text may also be given in quotes, as null where it may be null, as a distribution, or as a section where
    it may be one.
    """
    types = set(_types_at(path))
    sections = {of for of in types if isinstance(of, type) and issubclass(of, BaseModel)}
    if value and types - sections and types - sections <= {str, NoneType}:
        return _as_text(value, nullable=NoneType in types, is_section=bool(sections))
    source, do = f"override {path}", "Put text in quotes where it has YAML's signs in it"
    parsed = text.parse(value, source, do)
    if comment := text.comment_in(value):
        fail(source, "must be a value without a comment", comment, do)
    return parsed


def _as_text(value: str, nullable: bool, is_section: bool) -> object:
    if value == "null" and nullable:
        return None
    if value[0] not in "'\"{":
        return value
    try:
        parsed = text.parse(value, "")
    except InputError:
        return value
    is_other = isinstance(parsed, dict) and (is_section or not set(parsed).isdisjoint(KINDS))
    return parsed if isinstance(parsed, str) or is_other else value


def _types_at(path: str) -> Iterator[object]:
    """Yield the types that a value at a dotted key path may have, literals as that of their value; none if unknown."""
    keys = keys_of(path)
    if any(path.startswith(prefix) and len(keys) > above for prefix, above in _KEYED_BY_PATH.items()):
        keys = keys[-1].split(".")
    types: list[object] = [Experiment]
    for key in keys:
        types = [inner for of in types for inner in _inner(of, key)]
    yield from types


def _inner(of: object, key: str) -> Iterator[object]:
    """Yield the types of what stands at a key of a section, or of a mapping."""
    if isinstance(of, type) and issubclass(of, BaseModel):
        if key in of.model_fields:
            yield from _members(of.model_fields[key].annotation)
    elif get_origin(of) is dict:
        yield from _members(get_args(of)[1])


def _members(annotation: object) -> Iterator[object]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        for argument in arguments:
            yield from _members(argument)
    elif origin is Annotated:
        yield from _members(arguments[0])
    elif origin is Literal:
        yield from map(type, arguments)
    else:
        yield annotation
