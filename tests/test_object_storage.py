"""A search whose speech and run folder are on S3-compatible storage, which goes away for ten seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from raywce.runs.folder import RunFolder
from tests.demo_world import (
    CHECKPOINT_EVERY,
    ONE_WORKER,
    World,
    by_step,
    lasting,
    needs_a_voice,
    trials,
    wait_for,
)
from tests.s3_server import BUCKET, S3Server, s3_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_a_voice]

OUTAGE_S = 10


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server(tmp_path / "s3") as running:
        yield running


def test_a_search_on_s3_outlives_an_outage_and_ends_with_the_tables_of_a_disk(
    world: World, undisturbed: Path, server: S3Server
) -> None:
    remote, _ = fs.FileSystem.from_uri(f"s3://{BUCKET}")
    fs.copy_files(str(world.speech), f"{BUCKET}/speech", fs.LocalFileSystem(), remote)
    storage = f"s3://{BUCKET}/runs"
    folder = RunFolder.of(storage, "demo")

    def under_way() -> bool:
        try:
            rows = folder.read_table("trials.parquet").to_pylist()
        except OSError:  # not there yet, or replaced while it was read
            return False
        return any(row["trial_id"].startswith("search-000") and (row["step"] or 0) > CHECKPOINT_EVERY for row in rows)

    process = world.begin("search", *world.of(storage, ONE_WORKER, speech=f"s3://{BUCKET}/speech"))
    wait_for(under_way, lambda: process.poll() is None, lambda: world.log)
    server.stop()
    time.sleep(OUTAGE_S)
    server.start()
    assert process.wait() in (0, 3), world.log
    assert "Traceback" not in world.log

    here = by_step(folder.read_table("trials.parquet").to_pylist())
    assert lasting(here) == lasting(trials(undisturbed))
    local = RunFolder(str(undisturbed))
    figures = [json.loads(one.read_text("outcome.json")) for one in (folder, local)]
    assert {**figures[0], "tables": None} == {**figures[1], "tables": None}
    assert folder.read_table("utterances.parquet").equals(local.read_table("utterances.parquet"))
