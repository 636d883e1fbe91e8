"""A file's tree checked by the models: pydantic's errors, said as rules at the key path that the user wrote."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from raywce.errors import Problem
from raywce.experiment import text
from raywce.experiment.overrides import keys_of
from raywce.experiment.schema import Experiment, Sections
from raywce.experiment.space import Scalar, Space
from raywce.experiment.text import Tree

# What pydantic's error types mean to someone who writes YAML; the braces are filled from the error's context.
_RULES = {
    "missing": "is required",
    "extra_forbidden": "is not a known key",
    "greater_than": "must be greater than {gt:.15g}",
    "greater_than_equal": "must be at least {ge:.15g}",
    "less_than": "must be less than {lt:.15g}",
    "less_than_equal": "must be at most {le:.15g}",
    "finite_number": "must be finite",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be keys and values",
    "model_type": "must be a section of keys and values",
    "model_attributes_type": "must be a section of keys and values",
    "none_required": "must be null",
    "literal_error": "must be {expected}",
    "too_short": "must name at least {min_length}",
    "string_pattern_mismatch": "must be of the form {pattern}",
    "string_too_short": "must have at least {min_length} characters",
    "union_tag_invalid": "must be one of {expected_tags}",
    "union_tag_not_found": "is required: which weighting it is",
}
_NO_VALUE = {"missing", "extra_forbidden", "union_tag_not_found"}
# Stands in for a required section that does not hold, while the others are checked.
_FILLER: Tree = {
    "name": "x",
    "model": {"checkpoint": "x"},
    "data": {"folder": "x"},
    "languages": {"low_resource": ["xx"]},
}
Path = tuple[str | int, ...]


def errors_in(tree: Tree, space: Space) -> list[Problem]:
    """Return every rule of the models that `tree` breaks, or would break with a value that a distribution can draw."""
    found: dict[Problem, None] = {}
    for values in _extremes(space):
        found |= dict.fromkeys(_problems(put(tree, values), space))
    return list(found)


def put(tree: Tree, values: Mapping[str, object]) -> Tree:
    """Return a copy of `tree` with each value at its dotted key path."""
    out = copy.deepcopy(tree)
    for path, value in values.items():
        *sections, last = keys_of(path)
        node = out
        for key in sections:
            if node.get(key) is None:  # absent, or a section that is null
                node[key] = {}
            node = node[key]
        node[last] = value
    return out


def valid_sections(tree: Tree) -> Sections:
    """Return the top-level sections that hold, bad leaves left to their defaults: what further checks can look at."""
    tree = copy.deepcopy(tree)
    removed = [_path(entry, tree) for entry in _entries(tree)]
    for path in sorted(removed, key=str, reverse=True):
        _remove(tree, path)
    absent = {path[0] for path in removed if len(path) == 1} | {entry["loc"][0] for entry in _entries(tree)}
    held = {key: value for key, value in tree.items() if key not in absent}
    experiment = Experiment.model_validate(held | {key: value for key, value in _FILLER.items() if key in absent})
    return {name: value for name, value in experiment if name not in absent}


def without_unknown(tree: Tree) -> tuple[Tree, Tree]:
    """Part a tree into what the models know, and the values of the keys that they don't, by dotted path."""
    known = copy.deepcopy(tree)
    paths = [_path(entry, tree) for entry in _entries(tree) if entry["type"] == "extra_forbidden"]
    unknown = {_dotted(path): _at(tree, path) for path in paths}
    for path in paths:
        _remove(known, path)
    return known, unknown


def _at(tree: Tree, path: Path) -> Any:
    node: Any = tree
    for key in path:
        node = node[key]
    return node


def _extremes(space: Space) -> list[dict[str, Scalar]]:
    """Return draws that together hold each bound and each listed value: a rule of the models looks at one leaf."""
    values = {path: distribution.values for path, distribution in space.items()}
    count = max(map(len, values.values()), default=1)
    return [{path: held[index % len(held)] for path, held in values.items()} for index in range(count)]


def _entries(tree: Tree) -> list[ErrorDetails]:
    try:
        Experiment.model_validate(tree)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _problems(tree: Tree, space: Space) -> list[Problem]:
    entries: dict[Path, list[ErrorDetails]] = {}
    for entry in _entries(tree):
        entries.setdefault(_path(entry, tree), []).append(entry)
    # Of a union's branches, the one that got furthest is what the user meant.
    furthest = [path for path in entries if not any(other[: len(path)] == path != other for other in entries)]
    return [_problem(path, entries[path], space) for path in furthest]


def _problem(path: Path, entries: list[ErrorDetails], space: Space) -> Problem:
    first, at = entries[0], _dotted(path)
    rules = dict.fromkeys(_rule(entry) for entry in entries)
    rule = " or ".join([next(iter(rules)), *(rule.removeprefix("must be ") for rule in list(rules)[1:])])
    got = "" if first["type"] in _NO_VALUE else text.shown(first["input"])
    if first["type"].startswith("union_tag"):
        at += ".kind"
        got = got and text.shown(first["input"]["kind"])
    if at in space and got:
        got += f" in {space[at]}"
    return Problem(at, rule, got, _suggestion(path) if first["type"] == "extra_forbidden" else "")


def _rule(entry: ErrorDetails) -> str:
    rule = _RULES.get(entry["type"])
    return rule.format(**entry.get("ctx", {})) if rule else entry["msg"]


def _path(entry: ErrorDetails, tree: Tree) -> Path:
    """Return the error's place as keys of the file: pydantic also names the branch of a union."""
    *above, last = entry["loc"]
    if entry["loc"][0] == "weighting" and len(above) > 0:
        above = ["weighting", *above[2:]]
        if len(entry["loc"]) == 2:  # an error of the branch as a whole
            return ("weighting",)
    path: list[str | int] = []
    node: Any = tree
    for key in above:
        if _has(node, key):
            node = node[key]
            path.append(key)
    if _has(node, last) or entry["type"] in ("missing", "extra_forbidden"):
        path.append(last)
    return tuple(path)


def _has(node: object, key: str | int) -> bool:
    if isinstance(node, list):
        return isinstance(key, int) and key < len(node)
    return isinstance(node, dict) and key in node


def _remove(tree: Tree, path: Path) -> None:
    section = _at(tree, path[:-1])
    if _has(section, path[-1]):
        del section[path[-1]]


def _dotted(path: Path) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def _suggestion(path: Path) -> str:
    models, key = _models_at(path), str(path[-1])
    if "." in key:
        return f"In a file, keys are nested: {key.replace('.', ': {')}: …{'}' * key.count('.')}"
    having = [model for model in models if {"kind", key} <= model.model_fields.keys()]
    if kinds := [get_args(model.model_fields["kind"].annotation)[0] for model in having]:
        return f"{_dotted((*path[:-1], 'kind'))} {', '.join(kinds)} {'has' if len(kinds) == 1 else 'have'} it"
    known = sorted({known for model in models for known in model.model_fields} - {key})
    close = difflib.get_close_matches(key, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(known)}"


def _models_at(path: Path) -> list[type[BaseModel]]:
    """Return the models that the section above `path` may be of; of a weighting, those of every kind."""
    models: list[type[BaseModel]] = [Experiment]
    for key in path[:-1]:
        fields = [model.model_fields[key].annotation for model in models if key in model.model_fields]
        # A key of a mapping, such as a language, has no field: the models stay.
        models = [model for annotation in fields for model in _models_in(annotation)] or models
    return models


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
