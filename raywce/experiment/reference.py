"""The experiment file's keys as Markdown tables, made from the schema's own descriptions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic.json_schema import JsonSchemaValue

from raywce.errors import fail, one_line
from raywce.experiment.schema import Experiment

BEGIN, END = "<!-- keys -->", "<!-- /keys -->"
_KIND = "kind"  # by which the weightings differ
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_TYPES = {"boolean": "`true` or `false`", "string": "text", "null": "`null`"}
_PLAIN = {"boolean", "integer", "number", "string"}  # types of which one that takes all takes any plain value


@dataclass(frozen=True)
class Key:
    """One leaf of the file.

    Attributes:
        path: dotted key path; `<language>` stands for any language.
        values: what it may hold, in words.
        default: as JSON; empty where it must be given.
        description: the schema's.
        kinds: of a weighting, those that have it.
    """

    path: str
    values: str
    default: str
    description: str
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One section of the file: its dotted key path, what it is, and its leaves."""

    path: str
    description: str
    keys: tuple[Key, ...]


def tables() -> list[Table]:
    """Return the sections of the file in its order, the file itself first."""
    return list(_Reader(Experiment.model_json_schema()).tables())


def as_markdown() -> str:
    """Return a heading and a table for each section."""
    return "\n".join(_section(table) for table in tables())


def put_into(text: str, file: str) -> str:
    """Return a document with the tables between its markers.

    Args:
        text: of the document.
        file: its name, for the error.

    Raises:
        InputError: there is not exactly one pair of markers.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after:
        fail("--out", f"must be a file with {BEGIN} and {END} for the tables to be put between", file)
    return f"{before}{begin}\n{as_markdown()}{end}{after}"


def _section(table: Table) -> str:
    kinds = any(key.kinds for key in table.keys)
    headings = ["key", "value", "default", *(["kinds"] if kinds else []), "what it does"]
    lines = [f"### {f'`{table.path}`' if table.path else 'The file'}", "", _escaped(table.description), ""]
    lines += [_row(headings), _row(["---"] * len(headings))]
    for key in table.keys:
        default = f"`{key.default}`" if key.default else "required"
        of_kinds = [", ".join(f"`{kind}`" for kind in key.kinds)] if kinds else []
        lines.append(_row([f"`{key.path}`", key.values, default, *of_kinds, _escaped(key.description)]))
    return "\n".join([*lines, ""])


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _escaped(text: str) -> str:
    return text.replace("<", r"\<").replace(r"\<br>", "<br>")


class _Reader:
    """Walk through pydantic's JSON schema."""

    def __init__(self, schema: JsonSchemaValue) -> None:
        self._root, self._definitions = schema, schema["$defs"]

    def tables(self) -> Iterator[Table]:
        yield from self._tables("", self._root)

    def _tables(self, path: str, model: JsonSchemaValue) -> Iterator[Table]:
        keys: list[Key] = []
        below: list[Table] = []
        for name, field in model["properties"].items():
            at = f"{path}.{name}" if path else name
            if "discriminator" in field:
                below.append(self._kinds(at, [self._model(option) for option in field["oneOf"]]))
            elif "$ref" in field:
                below += self._tables(at, self._model(field))
            else:
                keys += self._keys(at, name, model)
        yield Table(path, one_line(model.get("description", "")), tuple(keys))
        yield from below

    def _keys(self, path: str, name: str, model: JsonSchemaValue) -> Iterator[Key]:
        """Yield a field of a model; where it maps languages to sections, those sections' fields too."""
        field = model["properties"][name]
        by_factory: Any = {} if field.get("type") == "object" else []  # an empty one, which the schema leaves out
        default = json.dumps(field.get("default", by_factory), ensure_ascii=False)
        default = "" if name in model.get("required", []) else default
        description = one_line(field.get("description", ""))
        inner = _inner(field)
        if "$ref" not in inner:
            yield Key(path, _values(field), default, description)
            return
        yield Key(path, "mapping of languages to the keys below", default, description)
        section = self._model(inner)
        for key in section["properties"]:
            yield from self._keys(f"{path}.<language>.{key}", key, section)

    def _kinds(self, path: str, models: list[JsonSchemaValue]) -> Table:
        kinds = [model["properties"][_KIND]["const"] for model in models]
        found: dict[str, list[tuple[str, Key]]] = {}
        for kind, model in zip(kinds, models, strict=True):
            for name in [name for name in model["properties"] if name != _KIND]:
                for key in self._keys(f"{path}.{name}", name, model):
                    found.setdefault(key.path, []).append((kind, key))
        shown = (f"`{kind}`: {one_line(model['description'])}" for kind, model in zip(kinds, models, strict=True))
        keys = [Key(f"{path}.{_KIND}", "one of these", "", "<br>".join(shown))]
        for those in found.values():
            keys.append(replace(those[0][1], kinds=tuple(kind for kind, _ in those)))
        return Table(path, "The weight of the low-resource languages; without the section, it is 1.", tuple(keys))

    def _model(self, field: JsonSchemaValue) -> JsonSchemaValue:
        model: JsonSchemaValue = self._definitions[field["$ref"].rpartition("/")[2]]
        return model


def _values(field: JsonSchemaValue) -> str:
    """Return what a field may hold, in words."""
    if options := field.get("anyOf"):
        any_value = {option.get("type") for option in options} >= _PLAIN
        return "any value" if any_value else " or ".join(dict.fromkeys(map(_values, options)))
    if "$ref" in field:
        return "keys and values"
    if "enum" in field or "const" in field:
        return " or ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    return _of_type(field)


def _of_type(field: JsonSchemaValue) -> str:
    kind = str(field.get("type", "any value"))
    if kind == "array":
        return f"list of {_values(field.get('items', {}))}"
    if kind == "object":
        return f"mapping of names to {_values(_inner(field))}"
    if kind in ("integer", "number"):
        bounds = [f"{sign} {field[name]:g}" for name, sign in _BOUNDS.items() if name in field]
        return " ".join(["whole number" if kind == "integer" else "number", ", ".join(bounds)]).strip()
    return _TYPES.get(kind, kind)


def _inner(field: JsonSchemaValue) -> JsonSchemaValue:
    """Return the schema of a mapping's values; empty where anything may be there, or it is no mapping."""
    inner = next(iter(field.get("patternProperties", {}).values()), field.get("additionalProperties"))
    return inner if isinstance(inner, dict) else {}
