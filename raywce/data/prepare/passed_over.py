"""Files that nothing is read from: grouped by folder and reason, a bounded number of them by name."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from raywce.data.prepare.cells import readable

_NAMES = 20  # of a group of files, the first by name


@dataclass(frozen=True)
class PassedOver:
    """Files of one folder that nothing was read from, for one reason.

    Attributes:
        folder: where they lie.
        files: how many they are.
        names: the first by name, at most 20, relative to the folder.
        reason: why, and what to do where they should be read.
    """

    folder: str
    files: int
    names: tuple[str, ...]
    reason: str

    @property
    def place(self) -> str:
        """The file where it is one, else the folder, the number of files and some names."""
        if self.files == 1:
            return str(Path(self.folder, self.names[0]))
        some = ", ".join(self.names[:3]) + (", ..." if self.files > 3 else "")
        return f"{self.folder}: {self.files} files ({some})"


class PassedOverFiles:
    """Collection of the files that nothing is read from; holds a bounded number of names for each group."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = defaultdict(int)
        self._names: dict[tuple[str, str], list[str]] = defaultdict(list)

    def add(self, folder: Path, name: str, reason: str) -> None:
        """Add one file; `name` is relative to the folder."""
        key = (readable(str(folder)), reason)
        self._counts[key] += 1
        names = self._names[key]
        insort(names, readable(name))
        del names[_NAMES:]

    def update(self, other: PassedOverFiles) -> None:
        """Add those of another collection."""
        for key, count in other._counts.items():
            self._counts[key] += count
            self._names[key] = sorted([*self._names[key], *other._names[key]])[:_NAMES]

    def groups(self) -> tuple[PassedOver, ...]:
        """Return the groups by folder, then by reason."""
        return tuple(
            PassedOver(key[0], self._counts[key], tuple(self._names[key]), key[1]) for key in sorted(self._counts)
        )
