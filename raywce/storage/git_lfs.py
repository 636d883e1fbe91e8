"""Pointers that Git leaves where Git LFS keeps the content elsewhere."""

from __future__ import annotations

from pathlib import Path

POINTER_HEAD = b"version https://git-lfs.github.com/spec/"
"""What every pointer begins with."""


def is_pointer(path: Path) -> bool:
    """Return whether a file is a pointer, not the content."""
    with path.open("rb") as file:
        return file.read(len(POINTER_HEAD)) == POINTER_HEAD
