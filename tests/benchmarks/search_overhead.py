"""One measured search over surrogates, in a process of its own.

    python -m tests.benchmarks.search_overhead KIND TRIALS AT_ONCE

`actors` is the whole search phase on a Ray cluster with logical GPUs; `events` feeds searcher, scheduler and table with
what Tune would send them. Prints its figures as JSON, in the last line.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import psutil
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from ray.tune.schedulers import TrialScheduler

from raywce.experiment.load import ExperimentFile
from raywce.runs.folder import RunFolder
from raywce.search.checkpoints import Sweeper
from raywce.search.driver import Driver
from raywce.search.scheduler import FeasibleFirstASHA
from raywce.search.searcher import ConstrainedOptunaSearch
from raywce.search.table_callback import TableCallback
from raywce.selection.limits import Limit
from raywce.selection.trials import SEARCH
from raywce.trial_report import Report
from tests.search import surrogate

STEPS, EVERY = 20, 4
TRIAL_S = 1.0


def lasting_trial(experiment: Any, folder: str, name: str, on_report: Callable[[Report], None] | None = None) -> None:
    """The reports of `curve_trial`, over `TRIAL_S` seconds."""
    assert on_report is not None

    def later(report: dict[str, Any]) -> None:
        time.sleep(TRIAL_S * EVERY / STEPS / 2)  # two reports an evaluation
        on_report(report)

    surrogate.curve_trial(experiment, folder, name, later)


def experiment(folder: Path, trials: int, at_once: int, **search: Any) -> ExperimentFile:
    """Random draws over two leaves; a trial takes a hundredth of a CPU and a GPU."""
    overrides = [
        f"training.evaluate_every={EVERY}",
        "resources={workers: 1, cpus_per_worker: 0.01, gpus_per_worker: 1}",
    ]
    settings = {"trials": trials, "max_concurrent_trials": at_once, "sampler": "random", "points": "none", **search}
    return surrogate.load_file(folder, *overrides, **settings)


def actors(folder: Path, trials: int, at_once: int) -> dict[str, float]:
    """A search whose trials are Tune's actors."""
    import ray

    from raywce.search.phases import run_search

    ray.init(address="local", num_cpus=2, num_gpus=at_once, log_to_driver=False, logging_level="WARNING")
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address  # not held against this machine's own GPUs
    file = experiment(folder, trials, at_once)
    began, cpu = time.monotonic(), time.process_time()
    run_search(file, trial=lasting_trial)
    return figures(time.monotonic() - began, time.process_time() - cpu)


def events(folder: Path, trials: int, at_once: int) -> dict[str, float]:
    """What Tune's loop calls in this process for each trial, a step each in turn."""
    file = experiment(folder, trials, at_once, early_stopping=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    run = RunFolder(str(folder / "run"))
    (folder / "run").mkdir()
    search = ConstrainedOptunaSearch(
        file.optuna_space,
        constraints=file.experiment.languages.high_resource,
        sampler="random",
        seed=0,
        study_name="toy",
        storage=JournalStorage(JournalFileBackend(str(folder / "run" / "optuna.journal"))),
    )
    scheduler = FeasibleFirstASHA((EVERY,), STEPS, 1.25)  # most trials go on
    callback = TableCallback(run, SEARCH, file, trials, lambda: at_once, Sweeper(run, 1))
    judged = Driver(
        file, str(folder), lasting_trial, limits={"es": Limit(0.20, 0.005), "pt": Limit(0.19, 0.005)}
    ).judged
    began, cpu = time.monotonic(), time.process_time()
    callback.setup()
    running: deque[tuple[Any, Any]] = deque()
    begun = 0
    while running or begun < trials:
        while begun < trials and len(running) < at_once:
            trial = SimpleNamespace(trial_id=f"t{begun}", config=search.suggest(f"t{begun}"), last_result={})
            begun += 1
            scheduler.on_trial_add(None, trial)
            callback.on_trial_start(0, [], trial)
            running.append((trial, iter(_reports(file.at(trial.config["values"])))))
        trial, reports = running.popleft()
        report = next(reports)
        report = {"objective": None, **judged(report).flat()}
        trial.last_result = report
        stop = scheduler.on_trial_result(None, trial, report) == TrialScheduler.STOP
        if not stop:
            search.on_trial_result(trial.trial_id, report)
        callback.on_trial_result(0, [], trial, report)
        if stop or report["final"]:
            scheduler.on_trial_complete(None, trial, report)
            search.on_trial_complete(trial.trial_id, report)
            callback.on_trial_complete(0, [], trial)
        else:
            running.append((trial, reports))
        callback.on_step_end(0, [])
    callback.on_experiment_end([])
    return figures(time.monotonic() - began, time.process_time() - cpu)


def figures(wall_s: float, cpu_s: float) -> dict[str, float]:
    """This process's."""
    return {"wall_s": wall_s, "cpu_s": cpu_s, "rss_mb": psutil.Process().memory_info().rss / 1e6}


def _reports(one: Any) -> list[Report]:
    found: list[Report] = []
    surrogate.curve_trial(one, "", "", found.append)
    return found


def main() -> None:
    kind, trials, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        found = {"actors": actors, "events": events}[kind](Path(folder), trials, at_once)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
