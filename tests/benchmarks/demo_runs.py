"""Commands and trainings on the demo world, as a user calls them; a finished training is not run again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

QUICKSTART = Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml"


def raywce(*arguments: str) -> None:
    """A command of raywce."""
    subprocess.run([sys.executable, "-m", "raywce", *arguments], check=True)


def trained(experiment: Path, storage: Path, name: str, changes: Sequence[str]) -> Path:
    """The run folder of one training, which is there or is run."""
    if not (storage / name / "model").exists():
        raywce("train", str(experiment), *changes, f"name={name}", f"storage={storage}")
    return storage / name


def as_changes(values: Mapping[str, Any]) -> list[str]:
    """Values by key path, as the command line takes them."""
    return [f"{path}={json.dumps(value)}" for path, value in values.items()]
