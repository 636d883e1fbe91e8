"""File names whose accents a table and a disk write differently."""

from __future__ import annotations

import unicodedata
from pathlib import Path


def find_file(path: Path) -> Path:
    """Return the path as the disk spells it, each part as it is, in NFC or in NFD; unchanged where there is no file."""
    if str(path).isascii() or _exists(path):
        return path
    found = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        forms = (part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part))
        there = next((found / form for form in forms if _exists(found / form)), None)
        if there is None:
            return path
        found = there
    return found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a folder that may not be read
        return False
