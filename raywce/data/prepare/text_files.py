"""Lines of text tables: their encoding and line ends, each found once for a whole file."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from raywce.data.prepare.cells import MARK, readable, shown
from raywce.data.prepare.failures import failures_named
from raywce.errors import Problem
from raywce.storage.files import is_utf8

_START = 65_536  # bytes in which the first line end is looked for
_FIRST_LINE_END = re.compile(r"\r*\n|\r")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank with their numbers, from 1.

    The encoding is that of the byte order mark, UTF-16 where every second byte of the first characters is 0, else
    UTF-8, with a surrogate for each byte that is none. Lines end as the first one does: LF, CR LF or CR.

    Raises:
        InputError: the file can't be read.
    """
    with failures_named(path):
        encoding, start = _found_encoding(path)
        first = _FIRST_LINE_END.search(start.decode(encoding, "ignore"))
        newline = "\r" if first and first[0] == "\r" else "\n"
        with path.open(encoding=encoding, errors=_errors(encoding), newline=newline) as text:
            for number, line in enumerate(text, start=1):
                if line.strip():
                    yield number, line.strip("\r\n")


def read_text(path: Path) -> str:
    """Return a whole text, without a byte order mark; encoding and errors are as in `read_lines`."""
    with failures_named(path):
        encoding, _ = _found_encoding(path)
        return path.read_text(encoding, _errors(encoding)).lstrip(MARK)


def encoding_problem(path: Path) -> Problem | None:
    """Return why a text file can't be read; None where it can.

    Eight-bit encodings can't be told apart, and a wrong guess changes letters: a file is refused where no line beyond
    ASCII is UTF-8. Where some are, the others are broken rows of a UTF-8 file.

    Raises:
        InputError: the file can't be read.
    """
    with failures_named(path):
        encoding, _ = _found_encoding(path)
        got = _first_foreign_line(path) if _errors(encoding) == "surrogateescape" else _undecodable(path, encoding)
    rule = "must be UTF-8 text, or UTF-16 with its byte order mark"
    return Problem(str(path), rule, got, "Save it as UTF-8.") if got else None


def _found_encoding(path: Path) -> tuple[str, bytes]:
    """Return a file's encoding and its first bytes."""
    with path.open("rb") as file:
        start = file.read(_START)
    return _encoding(start), start


def _encoding(start: bytes) -> str:
    marked = next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), None)
    if marked:
        return marked
    even, odd = start[:8:2], start[1:8:2]  # tables begin with the ASCII names of columns
    if odd and all(even) and not any(odd):
        return "utf-16-le"
    return "utf-16-be" if odd and all(odd) and not any(even) else "utf-8"


def _errors(encoding: str) -> str:
    return "surrogateescape" if encoding.startswith("utf-8") else "replace"


def _first_foreign_line(path: Path) -> str:
    """Return the first line that is not UTF-8, where no other line beyond ASCII is; else nothing."""
    foreign = ""
    for number, line in read_lines(path):
        if line.isascii():
            continue
        if is_utf8(line):
            return ""
        foreign = foreign or f"another encoding in line {number}: {shown(readable(line))}"
    return foreign


def _undecodable(path: Path, encoding: str) -> str:
    try:
        with path.open(encoding=encoding) as text:
            while text.read(_START):
                pass
    except UnicodeError as error:
        return f"{encoding.upper()} that is damaged ({error})"
    return ""
