"""The experiment files that are shipped hold, and say how they are run."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from raywce.experiment import text
from raywce.experiment.augmentation_schema import Augmentation
from raywce.experiment.editor_schema import as_text, experiment_schema
from raywce.experiment.load import load

FOLDER = Path(__file__).parents[1] / "search_spaces"
FILES = sorted(FOLDER.glob("*.yaml"))


def test_they_are_there() -> None:
    assert {file.stem for file in FILES} >= {"galician", "quickstart_augmentation", "small_cpu"}


def test_the_schema_is_current() -> None:
    assert (FOLDER / "experiment.schema.json").read_text() == as_text(), "raywce schema --out mends it"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_file_holds(file: Path) -> None:
    loaded = load(file, check_files=False)
    loaded.require_space()
    assert len(loaded.published_points()) == 3
    assert not loaded.notes
    assert loaded.experiment.name == file.stem
    Draft202012Validator(experiment_schema()).validate(text.read(file))


def test_galician_starts_from_the_papers_augmentation() -> None:
    augmentation = load(FOLDER / "galician.yaml", check_files=False).experiment.augmentation
    assert augmentation.model_copy(update={"strength": 1.0}) == Augmentation(preset="paper")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_file_opens_with_the_commands_that_run_it(file: Path) -> None:
    schema, *lines = file.read_text().splitlines()
    assert schema == "# yaml-language-server: $schema=experiment.schema.json"
    head = "\n".join(lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))])
    for command in ("validate", "search", "train"):
        assert f"raywce {command} search_spaces/{file.name}" in head


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_file_is_complete(file: Path) -> None:
    """Whoever reads it sees every option."""
    assert _keys(text.read(file)) == _keys(text.parse(load(file, check_files=False).resolved_yaml(), "resolved"))


def _keys(value: object, path: str = "") -> set[str]:
    if not isinstance(value, dict):
        return {path}
    return {key for name, inner in value.items() for key in _keys(inner, f"{path}.{name}")} or {path}
