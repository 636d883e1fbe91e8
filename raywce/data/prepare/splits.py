"""Names of the splits: train, dev and test as columns, folders and files write them."""

from __future__ import annotations

import re
from pathlib import Path

_SPLITS = {
    **dict.fromkeys(["train", "training"], "train"),
    **dict.fromkeys(["dev", "devel", "development", "valid", "val", "validation"], "dev"),
    **dict.fromkeys(["test", "testing"], "test"),
}


def split_of(name: str | None) -> str | None:
    """Return `train`, `dev` or `test` where `name` holds exactly one of them as a word (`gl_valid.tsv`)."""
    words = re.split(r"[^a-z]+", (name or "").lower())
    found = {_SPLITS[word] for word in words if word in _SPLITS}
    return found.pop() if len(found) == 1 else None


def without_splits(words: list[str]) -> list[str]:
    """Return the words that stand for no split."""
    return [word for word in words if word.lower() not in _SPLITS]


def split_of_path(audio: str) -> str | None:
    """Return the split that a folder in a relative audio path names (`train/clip.wav`), the nearest first."""
    path = Path(audio)
    folders = () if path.is_absolute() else reversed(path.parent.parts)
    return next((found for folder in folders if (found := split_of(folder))), None)
