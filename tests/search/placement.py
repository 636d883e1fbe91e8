"""A search over surrogates that hold logical GPUs, in a process of its own.

    python -m tests.search.placement GPUS TRIALS WORKERS

A trial takes `WORKERS` placement bundles of a GPU each, as Ray Train's workers do. As many trials as fit wait for each
other, so that they only end if all of them were placed at the same time. Prints, in the last line, when each trial
asked for its bundles, had them and gave them back, in seconds, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raywce.trial_report import Report
from tests.search import surrogate

PATIENCE_S = 600.0
HELD_S = 2.0


@dataclass(frozen=True)
class Placed:
    """Attributes: seconds since some moment that is the same for all trials."""

    asked: float
    had: float
    left: float


def placed_trial(experiment: Any, folder: str, name: str, on_report: Callable[[Report], None] | None = None) -> None:
    """Holds its bundles until the first wave is complete; the baseline, which runs alone, does not wait for others."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    resources, places = experiment.resources, Path(folder) / "places"
    places.mkdir(parents=True, exist_ok=True)
    asked = time.monotonic()
    group = placement_group([{"GPU": resources.gpus_per_worker}] * resources.workers)
    ray.get(group.ready(), timeout=PATIENCE_S)
    had = time.monotonic()
    (places / f"{name}.had").touch()
    wave = int(ray.cluster_resources()["GPU"]) // resources.workers
    while name.startswith("search") and len(list(places.glob("search*.had"))) < wave:
        assert time.monotonic() - had < PATIENCE_S, "the others never came"
        time.sleep(0.2)
    time.sleep(HELD_S)
    remove_placement_group(group)
    (places / f"{name}.json").write_text(json.dumps(asdict(Placed(asked, had, time.monotonic()))))
    surrogate.trial(experiment, folder, name, on_report)


def search(folder: Path, gpus: int, trials: int, workers: int) -> dict[str, dict[str, float]]:
    import ray

    from raywce.search.phases import run_search

    ray.init(address="local", num_cpus=2, num_gpus=gpus, log_to_driver=False, logging_level="WARNING")
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address  # not held against this machine's own GPUs
    resources = f"resources={{workers: {workers}, cpus_per_worker: 0.01, gpus_per_worker: 1}}"
    file = surrogate.load_file(
        folder, resources, trials=trials, max_concurrent_trials=None, sampler="random", points="none"
    )
    run_search(file, trial=placed_trial)
    return {one.stem: json.loads(one.read_text()) for one in folder.rglob("places/search*.json")}


def main() -> None:
    gpus, trials, workers = map(int, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        found = search(Path(folder), gpus, trials, workers)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
