"""`--json FILE`: what a command printed, for programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raywce.valid_json import as_json


def write_figures(file: Path | None, figures: Mapping[str, Any]) -> None:
    """Write the figures, in place only when whole; nothing where no file was asked for."""
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(as_json(figures), encoding="utf-8")
    partial.replace(file)
