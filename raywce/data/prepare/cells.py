"""Cells by type: what is missing, what is text, and how much of one a message shows."""

from __future__ import annotations

import math
import unicodedata
from functools import lru_cache

_SHOWN = 80  # characters
MARK = "\ufeff"  # byte order mark; some tools write two


class BadCellError(Exception):
    """A cell of the wrong type; the message names the column and shows the cell."""


def is_missing(value: object) -> bool:
    """Return whether a cell holds nothing: null, NaN, or no more than white space."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_text(name: str, value: object) -> str:
    """Return a cell's text without surrounding white space; empty where it is missing.

    Raises:
        BadCellError: a number, boolean, list or object, or text with a NUL character.
    """
    if is_missing(value):
        return ""
    if not isinstance(value, str):
        raise BadCellError(f"{name} must be text, but got {shown(value)}")
    if "\0" in value:
        raise BadCellError(f"{name} must be text without NUL characters, but got {shown(value)}")
    return value.strip()


def as_label(name: str, value: object) -> str:
    """Return a cell's text like `as_text`, a number's digits too: speakers and classes are often numbered."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number and not is_missing(value) else as_text(name, value)


def as_number(name: str, value: object, least: float, most: float) -> float | None:
    """Return a cell's finite number, which may be written as text; None where it is missing.

    Raises:
        BadCellError: anything else, or a number below `least` or above `most`.
    """
    if is_missing(value):
        return None
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not least <= number <= most:
        raise BadCellError(f"{name} must be a number from {least:g} to {most:g}, but got {shown(value)}")
    return number


def shown(value: object) -> str:
    """Return a value as a message shows it: in one line that can be printed, cut at 80 characters."""
    return cut(repr(value[:_SHOWN] if isinstance(value, str | bytes | list | tuple) else value))


def cut(text: str, most: int = _SHOWN) -> str:
    """Return at most so many characters of a text, with an ellipsis where some are left out."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def readable(text: str) -> str:
    """Return text that can be written: what is not UTF-8 shows as `?`; names that an ASCII locale escaped are whole."""
    try:
        return text.encode("utf-8", "surrogateescape").decode()
    except UnicodeError:
        return text.encode("utf-8", "replace").decode()


@lru_cache(maxsize=128)
def column_names_of(header: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of columns in lower case, as NFC and without surrounding space.

    A name stays as it is where another column has the changed one: `Text` beside `text`.
    """
    names: dict[str, str] = {}
    for name in header:
        plain = plain_name(name)
        is_free = plain not in header and plain not in names.values()
        names.setdefault(name, plain if is_free else readable(name))
    return tuple(names[name] for name in header)


def plain_name(name: str) -> str:
    """Return a column's name in the form in which names are compared."""
    return unicodedata.normalize("NFC", readable(name)).replace(MARK, "").strip().lower()
