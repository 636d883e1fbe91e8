from __future__ import annotations

from pathlib import Path

import pytest

from raywce.data.prepare.text_files import encoding_problem, read_lines

LINES = ["file_name,text", "a.wav,mañá pola mañá", "b.wav,今日は"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_lines_of_any_unicode_encoding_and_line_end(tmp_path: Path, encoding: str, end: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes((end.join(LINES) + end).encode(encoding))
    assert [line for _, line in read_lines(file)] == LINES
    assert encoding_problem(file) is None


def test_lines_end_as_the_first_one_does(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b'file_name,text\ra.wav,"un\ndous"\r\rb.wav,tres\r')
    assert list(read_lines(file)) == [(1, "file_name,text"), (2, 'a.wav,"un\ndous"'), (4, "b.wav,tres")]
    file.write_bytes(b"file_name,text\na.wav,un\rdous\n")
    assert list(read_lines(file)) == [(1, "file_name,text"), (2, "a.wav,un\rdous")]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1251", "mac-roman", "shift-jis"])
def test_an_eight_bit_encoding_is_not_guessed(tmp_path: Path, encoding: str) -> None:
    words = {"cp1251": "привет", "shift-jis": "今日は"}
    file = tmp_path / "a.csv"
    file.write_bytes(f"file_name,text\na.wav,ben\nb.wav,{words.get(encoding, 'mañá')}\n".encode(encoding))
    problem = encoding_problem(file)
    assert problem
    assert (problem.path, problem.do) == (str(file), "Save it as UTF-8.")
    assert "line 3" in problem.got
    str(problem).encode()


def test_a_wrong_line_among_utf8_ones_is_no_other_encoding(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("file_name,text\na.wav,mañá\n".encode() + "b.wav,mañá\n".encode("latin-1"))
    assert encoding_problem(file) is None


def test_damaged_utf16_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("file_name,text\n".encode("utf-16")[:-1])
    assert "UTF-16 that is damaged" in str(encoding_problem(file))


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.touch()
    assert list(read_lines(file)) == []
    assert encoding_problem(file) is None
