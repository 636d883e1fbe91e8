from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from raywce.errors import InputError
from raywce.experiment import text


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-5", 1e-5),
        ("-2.5E+3", -2500.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("7", 7),
        ("010", 10),
        ("0x10", 16),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("12:30", "12:30"),
        ("2024-01-02", "2024-01-02"),
        ("'1e-5'", "1e-5"),
        ("", None),
        ("~", None),
        ("[gl, no]", ["gl", "no"]),
        ("{no: 1}", {"no": 1}),
    ],
)
def test_values_are_those_of_yaml_1_2(written: str, value: Any) -> None:
    parsed = text.parse(written, "here")
    assert parsed == value
    assert type(parsed) is type(value)


def test_infinity_and_nan_are_numbers() -> None:
    assert text.parse("-.inf", "here") == -math.inf
    assert math.isnan(text.parse(".nan", "here"))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "file.yaml, line 3, column 1: must be YAML: key 'a' is there twice"),
        ("a:\n  b: 1\n  b: 2\n", "file.yaml, line 3, column 3: must be YAML: key 'b' is there twice"),
        ("a: [1, 2", "file.yaml, line 1, column 9: must be YAML"),
        ("a: 1\n  b: 2", "file.yaml, line 2, column 4: must be YAML"),
        ("a: &x [1]\nb: *x", "line 2, column 4: must be YAML: aliases"),
        ("a: !!python/object:os.system x", "line 1, column 4: must be YAML"),
        ("a: \x07", "file.yaml: must be YAML"),
    ],
)
def test_what_is_not_yaml_is_said_in_a_line(written: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        text.parse(written, "file.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "words"), [(b"", "nothing"), (b"- a", "list"), (b"\xff\xfe\xfa", "UTF-8")])
def test_a_file_must_hold_a_mapping(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "file.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=words):
        text.read(file)


def test_no_such_file() -> None:
    with pytest.raises(InputError, match=r"absent\.yaml: cannot be read"):
        text.read(Path("absent.yaml"))


def test_what_is_written_reads_the_same() -> None:
    value = {"a": "1e-5", "b": 1e-5, "no": "no", "c": [None, True, "true", "", "~", "0x1"], "d": {"x": 1e22}, "é": "é"}
    assert text.parse(text.write(value), "here") == value
