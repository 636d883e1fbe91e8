"""A search whose speech and run folder are on S3-compatible storage, which goes away for half a minute."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from raywce.run_folder import RunFolder
from tests.demo_world import (
    CHECKPOINT_EVERY,
    World,
    by_step,
    lasting,
    needs_a_voice,
    open_world,
    trials,
    wait_for,
)
from tests.s3_server import BUCKET, S3Server, s3_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_a_voice]

SEARCH = ["training.steps=8", "search.trials=2", "search.baseline_seeds=1", "search.points=none"]
SEARCH += ["search.constraints.absolute_floor=3.0"]
OUTAGE_S = 30


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(tmp_path_factory.mktemp("world")) as new:
        yield new


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server(tmp_path / "s3") as running:
        yield running


def test_a_search_on_s3_outlives_an_outage_and_ends_with_the_tables_of_a_disk(world: World, server: S3Server) -> None:
    local = world.folder / "local"
    world.run("search", *world.of(local, SEARCH), codes=(0, 3))

    remote, _ = fs.FileSystem.from_uri(f"s3://{BUCKET}")
    fs.copy_files(str(world.speech), f"{BUCKET}/speech", fs.LocalFileSystem(), remote)
    storage = f"s3://{BUCKET}/runs"
    folder = RunFolder.of(storage, "quickstart")

    def under_way() -> bool:
        try:
            rows = folder.read_table("trials.parquet").to_pylist()
        except OSError:  # not there yet, or replaced while it was read
            return False
        return any(row["trial_id"].startswith("search-000") and (row["step"] or 0) > CHECKPOINT_EVERY for row in rows)

    process = world.begin("search", *world.of(storage, SEARCH, speech=f"s3://{BUCKET}/speech"))
    wait_for(under_way, lambda: process.poll() is None, lambda: world.log)
    server.stop()
    time.sleep(OUTAGE_S)
    server.start()
    assert process.wait() in (0, 3), world.log
    assert "Traceback" not in world.log

    here = by_step(folder.read_table("trials.parquet").to_pylist())
    assert lasting(here) == lasting(trials(local / "quickstart"))
    figures = [json.loads(text) for text in (folder.read_text("outcome.json"), _local(local))]
    assert {**figures[0], "tables": None} == {**figures[1], "tables": None}
    utterances = RunFolder.of(str(local), "quickstart").read_table("utterances.parquet")
    assert folder.read_table("utterances.parquet").equals(utterances)


def _local(storage: Path) -> str:
    return (storage / "quickstart" / "outcome.json").read_text()
