"""`--json FILE`: the figures of a command, for programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from raywce.storage.files import replaced
from raywce.valid_json import as_json


def write_figures(file: Path | None, figures: Mapping[str, object]) -> None:
    """Write the figures to a file, whole or not at all; do nothing without a file."""
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with replaced(file) as partial:
        partial.write_text(as_json(figures), encoding="utf-8")
