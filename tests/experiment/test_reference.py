from __future__ import annotations

from pathlib import Path

import pytest

from raywce.errors import InputError
from raywce.experiment import text
from raywce.experiment.reference import BEGIN, END, as_markdown, put_into, tables

SPACES = Path(__file__).parents[2] / "search_spaces"
KEYS = {key.path: key for table in tables() for key in table.keys}


def test_the_tables_beside_the_experiment_files_are_current() -> None:
    text = (SPACES / "README.md").read_text(encoding="utf-8")
    assert put_into(text, "README.md") == text, "raywce schema --markdown --out search_spaces/README.md updates them"


def test_every_key_and_section_is_described() -> None:
    assert not [key for key in KEYS.values() if len(key.description) < 10]
    assert not [table for table in tables() if len(table.description) < 10]


def test_the_keys_of_a_shipped_file_are_there() -> None:
    tree = text.read(SPACES / "quickstart.yaml")
    assert set(_leaves(tree)) - KEYS.keys() == set()


def _leaves(tree: dict[str, object], path: str = "") -> list[str]:
    found: list[str] = []
    for name, value in tree.items():
        at = f"{path}.{name}" if path else name
        is_section = isinstance(value, dict) and at not in KEYS
        found += _leaves(value, at) if is_section else [at]  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("path", "values", "default"),
    [
        ("name", "text", ""),
        ("training.batch_size", "whole number ≥ 1", "16"),
        ("search.confirm.dev_share", "number > 0, < 1", "0.5"),
        ("training.encoder_context", "`full` or `batch` or number > 0", '"full"'),
        ("model.revision", "text or `null`", "null"),
        ("languages.low_resource", "list of text", ""),
        ("data.extra_test", "mapping of names to text", "{}"),
        ("search.constraints.languages.<language>.absolute_floor", "number ≥ 0 or `null`", "null"),
    ],
)
def test_a_key(path: str, values: str, default: str) -> None:
    assert (KEYS[path].values, KEYS[path].default) == (values, default)


def test_a_weighting_key_names_the_kinds_that_have_it() -> None:
    assert KEYS["weighting.alpha"].kinds == ("constant", "dynamic")
    assert KEYS["weighting.adaptive"].kinds == ("family",)


def test_the_rows_of_a_table_have_as_many_cells_as_its_heading() -> None:
    rows = [line for line in as_markdown().splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in rows} == {5, 6}


def test_the_tables_replace_those_between_the_markers() -> None:
    before = f"# Files\n\n{BEGIN}\nold\n{END}\n\nMore.\n"
    after = put_into(before, "README.md")
    assert after == f"# Files\n\n{BEGIN}\n{as_markdown()}{END}\n\nMore.\n"
    assert put_into(after, "README.md") == after


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_document_without_a_place_for_them_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"must be a file with"):
        put_into(text, "README.md")
