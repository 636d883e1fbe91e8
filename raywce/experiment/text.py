"""YAML 1.2 text to plain values and back: the only place that reads or writes YAML.

PyYAML speaks YAML 1.1, where `1e-5` is a string, `no` (Norwegian) is false and a repeated key overwrites in silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from raywce.errors import fail, one_line

Tree = dict[str, Any]  # keys and values of a file, as YAML has them

# The core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#1032-tag-resolution): pattern, first characters.
_CORE_SCHEMA = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own form)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not read", mark)
        return super().compose_node(parent, index)  # type: ignore[no-untyped-call]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is there twice", key.start_mark)
            seen.add(key.value)
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}  # type: ignore[no-untyped-call]

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = str(node.value)
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own form)

    def ignore_aliases(self, data: object) -> bool:
        return True


for _tag, (_pattern, _first) in _CORE_SCHEMA.items():
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)  # type: ignore[no-untyped-call]
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def parse(text: str, source: str, do: str = "") -> object:
    """Return the value that YAML `text` stands for; keys stay text.

    Args:
        text: a document.
        source: where it stands, for messages.
        do: what a message says to do where it is not YAML.

    Raises:
        InputError: the text is not YAML; `source` is named, with line and column.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
        fail(where, f"must be YAML: {error.problem or error.context}", do=do)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        fail(source, f"must be YAML: {one_line(error)}", do=do)


def comment_in(text: str) -> str:
    """Return the comment that ends YAML `text`; empty where there is none."""
    *_, last, _ = yaml.scan(text, _Loader)  # the very last token is the end
    return text[last.end_mark.index :].strip()


def read(path: Path) -> Tree:
    """Return the mapping that an experiment file holds.

    Raises:
        InputError: no such file, not text, not YAML, or no mapping.
    """
    try:
        value = parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        fail(str(path), f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        fail(str(path), "must be UTF-8 text")
    if not isinstance(value, dict):
        fail(str(path), "must hold keys and values", type(value).__name__ if value is not None else "nothing")
    return value


def write(value: Mapping[str, object] | Sequence[object]) -> str:
    """Return YAML text that `parse` reads back as the same value, keys in the order given."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False))


def shown(value: object) -> str:
    """Return a value for a line of a message, shortened where long."""
    line = json.dumps(value, ensure_ascii=False, default=str)
    return line if len(line) <= 80 else f"{line[:77]}..."
