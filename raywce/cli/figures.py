"""`--json FILE`: the figures of a command, for programs; and files that can't be written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from raywce.errors import Problem
from raywce.storage.files import replaced
from raywce.valid_json import as_json


def unwritable(files: Mapping[str, Path | None]) -> Iterator[Problem]:
    """Yield a problem for each option whose file is a folder."""
    for option, file in files.items():
        if file and file.is_dir():
            yield Problem(option, "must be a file to write", f"the folder {file}")


def write_figures(file: Path | None, figures: Mapping[str, object]) -> None:
    """Write the figures to a file, whole or not at all; do nothing without a file."""
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with replaced(file) as partial:
        partial.write_text(as_json(figures), encoding="utf-8")
