"""Names of files: their suffixes, and accents and slashes that a table and a disk write differently."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".oga", ".aiff", ".aif", ".m4a", ".au"}
AUDIO_SUFFIXES |= {".aac", ".amr", ".caf", ".mp4", ".sph", ".webm", ".wma"}


def suffix_of(name: str) -> str:
    """Return a name's last suffix in lower case."""
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if stem and dot else ""


def with_slashes(path: str) -> str:
    """Return a path that Windows may have written with slashes between its parts."""
    return path.replace("\\", "/")


def find_file(path: Path) -> Path:
    """Return the path as the disk spells it; unchanged where there is no file.

    Each part is taken as it is, in NFC or in NFD, and in UTF-8 whatever the locale's encoding is.
    """
    if str(path).isascii() or is_there(path):
        return path
    found = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        there = next((found / spelling for spelling in _spellings(part) if is_there(found / spelling)), None)
        if there is None:
            return path
        found = there
    return found


def _spellings(part: str) -> Iterable[str]:
    texts = (part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part))
    in_utf8 = (os.fsdecode(text.encode("utf-8", "surrogatepass")) for text in texts)
    return dict.fromkeys((*texts, *in_utf8))


def is_there(path: Path) -> bool:
    """Return whether a path leads to a file or folder; one that no disk can have does not."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, in a folder that may not be read, or no name in the locale's encoding
        return False
