"""What is printed on a console of 80 columns, as a log has, and whether it can be read there."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable

import pytest
import rich
from rich.console import Console

COLUMNS = 80
LANGUAGES = {"low": ["ast", "gl"], "high": ["ca", "es", "fr", "pt"], "watched": ["it", "yue"]}
TRIAL = "search-000-fe223b"


def printed(monkeypatch: pytest.MonkeyPatch, show: Callable[[], None]) -> list[str]:
    """The lines that `show` prints."""
    stream = io.StringIO()
    monkeypatch.setattr(rich, "get_console", lambda: Console(file=stream, width=COLUMNS))
    show()
    return stream.getvalue().splitlines()


def check(lines: Iterable[str], *whole: str) -> None:
    """Assert that no line is too long, nothing is cut and no interval is broken.

    Args:
        lines: as printed.
        whole: texts that a line each has, runs of spaces being as good as one.
    """
    lines = list(lines)
    assert [line for line in lines if len(line) > COLUMNS] == []
    assert [line for line in lines if "…" in line or line.count("[") != line.count("]")] == []
    assert [line for line in lines if re.search(r"±\s*$", line)] == []
    squeezed = [" ".join(line.split()) for line in lines]
    assert [text for text in whole if not any(text in line for line in squeezed)] == []
