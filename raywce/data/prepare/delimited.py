"""Rows of CSV and TSV tables: their separator and quoting, each found once for a whole table."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from raywce.data.prepare.cells import column_names_of
from raywce.data.prepare.file_names import AUDIO_SUFFIXES, suffix_of
from raywce.data.prepare.records import Fields, Record, broken, checked
from raywce.data.prepare.summary import Reason
from raywce.data.prepare.text_files import read_lines

_CONTINUATION = 100  # lines a quoted cell may run over
DELIMITED = {".tsv": "\t,;|", ".csv": ",;\t|"}  # separators by suffix; the first of them that the header holds
_ALWAYS_QUOTED = ",;"
_COMMON_VOICE = ({"client_id", "up_votes"}, {"client_id", "audio_id"})  # columns of its own tables
_EXCEL_SEPARATOR = re.compile(r"sep=(.)", re.IGNORECASE)


@dataclass(frozen=True)
class Header:
    """The first line of a table.

    Attributes:
        number: its place among the lines, from 1.
        line: its text.
        separator: what stands between cells.
        names: the columns, by plain name.
    """

    number: int
    line: str
    separator: str
    names: Sequence[str]


def read_header(path: Path) -> Header | None:
    """Return the header of a table; None where the file has no line. A first line `sep=;` of Excel is none."""
    lines = read_lines(path)
    number, line = next(lines, (0, ""))
    stated = _EXCEL_SEPARATOR.fullmatch(line.strip('"'))
    if stated:
        number, line = next(lines, (0, ""))
    if not line:
        return None
    known = DELIMITED[suffix_of(path.name)]
    separator = stated[1] if stated else next((mark for mark in known if mark in line), known[0])
    return Header(number, line, separator, column_names_of(tuple(_parse(line, separator) or line.split(separator))))


def read_delimited(path: Path) -> Iterator[Record]:
    """Yield the rows of a table. Common Voice's own tables have no quoting, copies by other writers may have.

    Cells separated by commas or semicolons may be quoted; an unbalanced quote stays in its row. Cells separated by
    tabs or bars are quoted where every quote of the table stands as a writer of quoted cells puts it.
    """
    header = read_header(path)
    if header is None:
        return
    rows = ((number, line) for number, line in read_lines(path) if number > header.number)
    if _is_quoted(path, header):
        yield from _quoted_rows(rows, header)
    else:
        yield from (_row(number, header.names, line.split(header.separator)) for number, line in rows)


def _is_quoted(path: Path, header: Header) -> bool:
    if header.separator in _ALWAYS_QUOTED:
        return True
    if any(own <= set(header.names) for own in _COMMON_VOICE):
        return _is_written_by(path, header, "")  # a copy that pandas made, of some of its rows
    cells = _parse(header.line, header.separator) or []
    if cells and header.line == header.separator.join(f'"{cell}"' for cell in cells):
        return True  # by a writer that quotes all text
    # Python and pandas quote cells with a quote, separator or line end; Excel those with a comma as well.
    return any(_is_written_by(path, header, special) for special in ("", ","))


def _is_written_by(path: Path, header: Header, special: str) -> bool:
    """Return whether rows with a quote are what a writer makes of their cells; it quotes those with `special` too."""
    taken: list[str] = []
    end = f"{special}\n"  # the csv module quotes cells with a character of its line end
    found = False

    def rows() -> Iterator[str]:
        for number, line in read_lines(path):
            if number > header.number:
                taken.append(line)
                yield f"{line}\n"

    try:
        for cells in csv.reader(rows(), delimiter=header.separator, strict=True):
            line = "\n".join(taken)
            taken.clear()
            if '"' in line or (special and special in line):
                out = io.StringIO()
                csv.writer(out, delimiter=header.separator, lineterminator=end).writerow(cells)
                if out.getvalue().removesuffix(end) != line:
                    return False
                found = True
    except csv.Error:
        return False
    return found


def _quoted_rows(lines: Iterator[tuple[int, str]], header: Header) -> Iterator[Record]:
    names, separator = header.names, header.separator
    ahead = deque(islice(lines, 1 + _CONTINUATION))
    while ahead:
        number, line = ahead.popleft()
        cells = _parse(line, separator)
        if cells is None:
            cells = _continued(line, names, separator, ahead)
        yield _unbalanced(number, names, line, separator) if cells is None else _row(number, names, cells)
        ahead.extend(islice(lines, 1 + _CONTINUATION - len(ahead)))


def _continued(line: str, names: Sequence[str], separator: str, ahead: deque[tuple[int, str]]) -> list[str] | None:
    """Take the next lines that a quoted cell of a row continues over, and return the row's cells.

    None, and no line is taken, where that would eat a whole row.
    """
    for count, (_, following) in enumerate(ahead, start=1):
        if _is_row(_parse(following, separator), names):
            break
        line = f"{line}\n{following}"
        cells = _parse(line, separator)
        if cells is not None and len(cells) == len(names):
            for _ in range(count):
                ahead.popleft()
            return cells
    return None


def _is_row(cells: list[str] | None, names: Sequence[str]) -> bool:
    if cells is None or len(cells) != len(names):
        return False
    return any(suffix_of(cell) in AUDIO_SUFFIXES for cell in cells)


def _unbalanced(number: int, names: Sequence[str], line: str, separator: str) -> Record:
    """Take the quote as a character, where the row then has as many cells as it should."""
    cells = line.split(separator)
    fields = _padded(names, cells)
    if len(cells) == len(names):
        return checked(Record(number, fields, unbalanced_quote=True))
    detail = f"{len(cells)} cells for {len(names)} columns with the quote as a character"
    return broken(number, fields, Reason.UNBALANCED_QUOTE, detail)


def _parse(line: str, separator: str) -> list[str] | None:
    """Return the cells of a whole quoted row, or None where a quote is left open or closes in mid-cell."""
    try:
        return next(csv.reader([line + "\n"], delimiter=separator, strict=True, skipinitialspace=True), [])
    except csv.Error:
        return None


def _row(number: int, names: Sequence[str], cells: list[str]) -> Record:
    """Pair cells and columns. Cells missing at the end are empty (old releases leave them out); more must be empty."""
    fields = _padded(names, cells)
    if any(cell.strip() for cell in cells[len(names) :]):
        return broken(number, fields, Reason.MALFORMED_ROW, f"{len(cells)} cells for {len(names)} columns")
    return checked(Record(number, fields))


def _padded(names: Sequence[str], cells: list[str]) -> Fields:
    return dict(zip(names, cells + [""] * (len(names) - len(cells)), strict=False))
