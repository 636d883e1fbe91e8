"""The record of an average: which models it was made of, and with which shares."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from raywce.runs.folder import RunFolder

AVERAGE = "average.json"


@dataclass(frozen=True)
class Member:
    """A model of an average, by the last parts of its path, and its share."""

    model: str
    share: float


@dataclass(frozen=True)
class Average:
    """An averaged model.

    Attributes:
        checkpoint: path or URI of its transformers folder.
        models: that it was made of, with shares that are 1 together.
        versions: of the packages that averaged them.
    """

    checkpoint: str
    models: Sequence[Member]
    versions: Mapping[str, str | None]

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.checkpoint.rpartition("/")[2]

    @property
    def title(self) -> str:
        """A description, in one line."""
        return f"average of {len(self.models)} models"

    def write(self) -> None:
        """Write the record into the folder."""
        record = {"models": [asdict(one) for one in self.models], "versions": self.versions}
        RunFolder(self.checkpoint).write_text(AVERAGE, json.dumps(record, indent=2) + "\n")


def find_average(place: str) -> Average | None:
    """Return the averaged model in a folder, as a path or URI; None where the folder holds no record of one."""
    folder = RunFolder.at(place)
    if not folder.has(AVERAGE):
        return None
    record = json.loads(folder.read_text(AVERAGE))
    return Average(folder.uri, [Member(**one) for one in record["models"]], record["versions"])
