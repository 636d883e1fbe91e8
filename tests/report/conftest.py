from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from raywce.data.prepare.summary import REJECT_SCHEMA
from raywce.runs.folder import RunFolder
from tests.report import made_runs
from tests.report.browser import chromium
from tests.report.made_runs import MadeRun


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    """A finished search; its prepared speech is at hand, with something rejected."""
    folder = tmp_path_factory.mktemp("searched")
    write_speech(folder / "speech")
    return made_runs.searched(folder)


@pytest.fixture(scope="session")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    """A finished search with a confirm phase whose winner opened the test split; its speech is elsewhere."""
    return made_runs.confirmed(tmp_path_factory.mktemp("confirmed"), constraints={"absolute_floor": 12.0})


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


def write_speech(folder: Path) -> None:
    part = {"split": "train", "language": "gl", "rows": 12, "utterances": 9, "hours": 0.25, "speakers": 4, "capped": 1}
    groups = [{**part, "rejected": {"too_long": 2}}]
    prepared = RunFolder(str(folder))
    prepared.write_text("prepared.json", json.dumps({"rows": 12, "utterances": 9, "groups": groups}))
    row = {"source": "train.tsv:3", "split": "train", "language": "gl", "id": "a.mp3", "reason": "too_long"}
    rows = [{**row, "text": made_runs.HOSTILE, "detail": "31.5 s"}, {**row, "text": "b", "detail": "40 s"}]
    prepared.write_table("rejected.parquet", pa.Table.from_pylist(rows, REJECT_SCHEMA))
