from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raywce.data.prepare.columns import TEXT_COLUMNS, check_columns, typed, used_names
from raywce.errors import InputError


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["path", "sentence", "locale", "age"], ["path", "sentence", "locale"]),
        (["file_name", "path", "text", "sentence"], ["file_name", "sentence"]),
        (["audio_filepath", "text", "duration"], ["audio_filepath", "text", "duration"]),
        (["path", "text", "duration", "sampling_rate"], ["path", "text"]),
    ],
)
def test_the_first_column_for_each_purpose_is_used(names: list[str], expected: list[str]) -> None:
    assert used_names(names, TEXT_COLUMNS) == expected


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"text": ["x"] * 500}, "text must be text, but got ['x'"),
        ({"path": 5}, "path must be text, but got 5"),
        ({"path": {"path": 5}}, "path.path must be text, but got 5"),
        ({"language": ["gl"]}, "language must be text, but got ['gl']"),
        ({"speaker": {"name": "a"}}, "speaker must be text"),
        ({"id": True}, "id must be text, but got True"),
        ({"audio_filepath": "a.wav", "offset": "x"}, "offset must be a number from 0 to 1e+09, but got 'x'"),
    ],
)
def test_a_cell_of_a_wrong_type_is_named(wrong: dict[str, Any], said: str) -> None:
    fields, problem = typed({"path": "a.wav", "text": "ola", **wrong}, TEXT_COLUMNS)
    assert problem.startswith(said)
    assert len(problem) < 130
    assert fields[next(reversed(wrong))] is None


def test_missing_cells_and_numbers_that_name_nothing_are_no_problem() -> None:
    row = {"path": "a.wav", "text": math.nan, "language": 3, "split": None, "speaker": 7, "id": 9}
    fields, problem = typed(row, TEXT_COLUMNS)
    assert problem == ""
    assert fields == {"path": "a.wav", "text": "", "language": "", "split": "", "speaker": "7", "id": ""}


def problems(path: Path) -> list[str]:
    with pytest.raises(InputError) as error:
        check_columns(path, TEXT_COLUMNS)
    return [str(problem).removeprefix(f"{path}: ") for problem in error.value.problems]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("audio", pa.list_(pa.int32())),
        ("audio", pa.int64()),
        ("text", pa.int64()),
        ("text", pa.binary()),
        ("language", pa.list_(pa.string())),
        ("speaker", pa.bool_()),
        ("split", pa.struct([("a", pa.string())])),
    ],
)
def test_a_column_of_a_wrong_type_is_one_line(tmp_path: Path, name: str, kind: pa.DataType) -> None:
    types = {"audio": pa.binary(), "text": pa.string(), "other": pa.timestamp("ns"), name: kind}
    table = pa.table({column: pa.array([None], of) for column, of in types.items()})
    pq.write_table(table, tmp_path / "a.parquet")
    (said,) = problems(tmp_path / "a.parquet")
    assert said.startswith(f"column {name} must hold ")
    assert said.endswith(f"but got {pq.read_schema(tmp_path / 'a.parquet').field(name).type}")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_column_that_is_there_twice_is_named(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    names = ["path", "Text", "Text", "age", "age"]
    if suffix == ".csv":
        file.write_text(f"{','.join(names)}\na,b,c,d,e\n")
    else:
        pq.write_table(pa.table([pa.array(["x"])] * 5, names=names), file)
    assert problems(file) == ["must have one column text, but got 2 columns of that name"]
