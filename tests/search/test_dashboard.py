"""The study of a search that runs, as optuna-dashboard shows it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from raywce.search.searcher import ConstrainedOptunaSearch
from raywce.search.study import open_journal
from tests.search import surrogate


@pytest.fixture
def searcher(tmp_path: Path) -> ConstrainedOptunaSearch:
    """It holds the journal open, as a search does."""
    file = surrogate.load_file(tmp_path)
    return ConstrainedOptunaSearch(
        file.optuna_space,
        constraints=["es", "pt"],
        sampler="random",
        seed=0,
        study_name="toy",
        storage=open_journal(tmp_path / "optuna.journal"),
    )


@pytest.fixture
def dashboard(searcher: ConstrainedOptunaSearch, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "optuna-dashboard"), str(tmp_path / "optuna.journal")]
    program = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        program.kill()
        program.wait()


def got(address: str, patience_s: float = 60) -> Any:
    end = time.monotonic() + patience_s
    while True:
        try:
            with urlopen(address, timeout=10) as answer:
                return json.load(answer)
        except (URLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def test_it_shows_trials_as_they_end(searcher: ConstrainedOptunaSearch, dashboard: str) -> None:
    searcher.suggest("first")
    (study,) = got(f"{dashboard}/api/studies")["study_summaries"]
    assert study["study_name"] == "toy"
    address = f"{dashboard}/api/studies/{study['study_id']}"
    (running,) = got(address)["trials"]
    assert running["state"] == "Running"
    report = {"step": 20, "final": True, "objective": 0.4, "violation/es": -0.5, "violation/pt": 0.3}
    searcher.on_trial_result("first", report)
    searcher.on_trial_complete("first", report)
    end = time.monotonic() + 30
    while (trial := got(address)["trials"][0])["state"] == "Running" and time.monotonic() < end:
        time.sleep(0.2)
    assert (trial["state"], trial["values"]) == ("Complete", [0.4])
    assert {one["name"] for one in trial["params"]} == {"weighting.alpha", "training.optimizer.learning_rate"}
