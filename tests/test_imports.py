"""Which room of the package may import which: what a room knows follows from its name."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "raywce").rglob("*.py"))

# Files beside the folders are rooms of their own. A room may import itself, and:
ALLOWED = {
    "errors": "",
    "assets": "errors",
    "valid_json": "",
    "numbers": "",
    "weighting": "",
    "trial_report": "",
    "storage": "errors",
    "data": "errors precision storage valid_json",
    "loss": "data",
    "precision": "",
    "whisper_folder": "errors storage",
    "lora": "errors whisper_folder",
    "model": "data errors lora loss whisper_folder",
    "language_tokens": "errors model storage whisper_folder",
    "augmentation": "errors data precision storage",
    "evaluation": "data language_tokens model precision storage whisper_folder",
    "experiment": "assets augmentation errors evaluation storage weighting whisper_folder",
    "surrogate": "",
    "selection": "errors evaluation experiment numbers surrogate trial_report valid_json",
    "runs": "assets errors experiment selection storage trial_report valid_json",
    "cluster": "errors evaluation experiment",
    "training": "augmentation cluster data errors evaluation experiment language_tokens lora loss model precision "
    "runs storage trial_report weighting",
    "screen": "experiment numbers selection trial_report",
    "search": "cluster data errors evaluation experiment numbers runs screen selection storage surrogate training "
    "trial_report",
    "report": "data errors evaluation experiment numbers runs screen selection storage trial_report valid_json "
    "weighting",
    "export": "data errors evaluation experiment lora model numbers runs selection storage training trial_report "
    "whisper_folder",
    "profile": "cluster data errors experiment model numbers precision runs selection storage training "
    "trial_report valid_json",
    "demo": "assets augmentation data errors evaluation experiment model training",
    "cli": "*",
    "__main__": "cli",
}
PURE = {
    "selection": {"ray", "optuna", "rich", "typer"},
    "runs": {"ray", "optuna", "rich", "typer"},
    "evaluation": {"ray"},
}
PURE |= {"surrogate": {"ray", "optuna", "rich", "typer"}, "data": {"ray"}, "report": {"ray"}, "screen": {"ray"}}


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(file) for file in FILES}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def imports(text: str) -> Iterator[str]:
    """The modules that a module's text imports, anywhere in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in inner if name in MODULES]
            yield from modules or [node.module]


def faults(module: str, text: str) -> list[str]:
    """What a module imports against the table."""
    room = room_of(module)
    allowed = ALLOWED[room].split()
    found = []
    for name in imports(text):
        top = name.split(".")[0]
        if top == "raywce" and name != "raywce" and room_of(name) != room and "*" not in allowed:
            if room_of(name) not in allowed:
                found.append(f"{module} imports {name}: {room} may import {', '.join(allowed) or 'no other room'}")
        elif top in PURE.get(room, ()):
            found.append(f"{module} imports {name}: {room} does without {top}")
    return found


def test_each_module_imports_what_its_room_may() -> None:
    files = {module_of(file): file for file in FILES if module_of(file) != "raywce"}
    assert [fault for module, file in files.items() for fault in faults(module, file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("module", "text", "fault"),
    [
        (
            "raywce.selection.limits",
            "from raywce.search import driver",
            "raywce.selection.limits imports",
        ),
        ("raywce.selection.limits", "def f():\n    import optuna.trial", "selection does without optuna"),
        ("raywce.runs.folder", "from raywce.screen.console import show_line", "runs may import assets, errors"),
        ("raywce.weighting", "import raywce.errors", "weighting may import no other room"),
    ],
)
def test_a_forbidden_import_is_named(module: str, text: str, fault: str) -> None:
    (found,) = faults(module, text)
    assert fault in found


def test_every_room_is_in_the_table_and_imports_what_the_table_says() -> None:
    used: dict[str, set[str]] = {room_of(module): set() for module in MODULES - {"raywce"}}
    for file in FILES:
        for name in imports(file.read_text(encoding="utf-8")):
            if name in MODULES - {"raywce"} and module_of(file) != "raywce":
                used[room_of(module_of(file))].add(room_of(name))
    assert used.keys() == ALLOWED.keys()
    unused = {room: set(ALLOWED[room].split()) - used[room] - {"*"} for room in used}
    assert not any(unused.values()), {room: names for room, names in unused.items() if names}


def test_no_imports_go_in_a_circle() -> None:
    graph = {module_of(file): set(imports(file.read_text(encoding="utf-8"))) & MODULES for file in FILES}
    rooms = {room: set(allowed.split()) & ALLOWED.keys() for room, allowed in ALLOWED.items()}
    for found in (graph, rooms):
        graphlib.TopologicalSorter({name: of - {name, "raywce"} for name, of in found.items()}).prepare()
