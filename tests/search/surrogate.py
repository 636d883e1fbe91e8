"""Stand-ins for a trial's training: figures from a formula, in the form and order of the real reports."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from raywce.errors import RunFailed
from raywce.evaluation.utterances import SCHEMA
from raywce.experiment.load import ExperimentFile, load
from raywce.experiment.schema import Experiment
from raywce.trial_report import Report

ORIGINAL = {"gl": 0.60, "es": 0.30, "pt": 0.28}


def write_file(folder: Path, name: str = "toy", **search: Any) -> Path:
    """An experiment file over a constant alpha and the learning rate."""
    tree = {
        "name": name,
        "model": {"checkpoint": "openai/whisper-tiny"},
        "data": {"folder": "speech"},
        "languages": {"low_resource": ["gl"], "high_resource": ["es", "pt"]},
        "weighting": {"kind": "constant", "alpha": {"uniform": [1.0, 6.0]}},
        "training": {"steps": 20, "optimizer": {"learning_rate": {"loguniform": [1.0e-6, 1.0e-3]}}},
        "search": {
            "trials": 4,
            "baseline_seeds": 1,
            "baseline": {"training.optimizer.learning_rate": 1.0e-5},
            "max_concurrent_trials": 1,
            "confirm": {"candidates": 0},
            **search,
        },
        "resources": {"workers": 2},
        "storage": str(folder / "runs"),
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    return file


def load_file(folder: Path, *overrides: str, **search: Any) -> ExperimentFile:
    """The file of `write_file`, read."""
    return load(write_file(folder, **search), overrides, check_files=False)


def load_grid(folder: Path, alternatives: dict[str, Any], seeds: int) -> ExperimentFile:
    """The file of `write_file` as a grid over alternatives alone."""
    grid = {"sampler": "grid", "trials": None, "points": "none", "seeds": seeds, "baseline_seeds": seeds}
    file = write_file(folder, **grid, alternatives=alternatives, baseline={})
    return load(file, ["weighting.alpha=1.0", "training.optimizer.learning_rate=1e-5"], check_files=False)


def wers(experiment: Experiment) -> dict[str, float]:
    """Falls for gl and rises for es and pt with alpha; the seed moves the third digit."""
    alpha = getattr(experiment.weighting, "alpha", 1.0)
    noise = 0.001 * experiment.training.seed
    return {"gl": 0.50 - 0.03 * alpha + noise, "es": 0.20 + 0.004 * (alpha - 1), "pt": 0.19 + 0.002 * (alpha - 1)}


def wers_at(experiment: Experiment, step: int) -> dict[str, float]:
    """On the way to `wers`: 30 points more at the beginning, in each language."""
    more = 0.3 * (1 - step / experiment.training.steps)
    return {language: rate + more for language, rate in wers(experiment).items()}


def evaluations(experiment: Experiment) -> range:
    """The steps of the evaluations."""
    every = experiment.training.evaluate_every or experiment.training.steps
    return range(every, experiment.training.steps + 1, every)


def report(experiment: Experiment, step: int, rates: dict[str, float] | None, **more: Any) -> Report:
    """A report as `raywce.training` makes it."""
    wer, cer = rates or {}, {language: rate / 2 for language, rate in (rates or {}).items()}
    measured = {"wer": wer, "wer_raw": wer, "wer_normalized": wer, "cer": cer, "cer_raw": cer, "cer_normalized": cer}
    return Report(
        step,
        final=step == experiment.training.steps,
        time_s=0.1 * step,
        loss=dict.fromkeys(ORIGINAL, 1.0),
        alpha={"gl": 1.0},
        rates=measured if rates else {},
        **more,
    )


def write_utterances(folder: str, name: str, step: int) -> str:
    """One row for each language, of a hundred words, the step in its hypothesis."""
    path = Path(folder) / name / f"utterances-{step}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    blank = {field.name: "" if field.type == pa.string() else 0 for field in SCHEMA if not field.nullable} | {
        "truncated": False,
        "stopped": False,
        "words_raw_hits": 100,
        "words_normalized_hits": 100,
    }
    rows = [{"id": f"{language}-1", "language": language, "hypothesis": f"{step}"} for language in ORIGINAL]
    pq.write_table(pa.Table.from_pylist([blank | row for row in rows], SCHEMA), path)
    return str(path)


def trial(experiment: Experiment, folder: str, name: str, on_report: Callable[[Report], None] | None = None) -> None:
    """The original at step 0 where it is asked for, a loss half-way, the figures of `wers` at the end."""
    assert on_report is not None
    steps = experiment.training.steps
    if experiment.training.evaluate_at_start:
        on_report(report(experiment, 0, ORIGINAL, utterances=write_utterances(folder, name, 0)))
    on_report(report(experiment, steps // 2, None))
    on_report(report(experiment, steps, wers(experiment), utterances=write_utterances(folder, name, steps)))


def curve_trial(
    experiment: Experiment, folder: str, name: str, on_report: Callable[[Report], None] | None = None
) -> None:
    """The figures of `wers_at` at each evaluation, and a report of the loss before each."""
    assert on_report is not None
    if experiment.training.evaluate_at_start:
        on_report(report(experiment, 0, ORIGINAL))
    for step in evaluations(experiment):
        on_report(report(experiment, step - 1, None))
        on_report(report(experiment, step, wers_at(experiment, step)))


def slow_trial(
    experiment: Experiment, folder: str, name: str, on_report: Callable[[Report], None] | None = None
) -> None:
    """As `trial`, after a second, and leaves its name in a file when it begins."""
    _begin_slowly(folder, name)
    trial(experiment, folder, name, on_report)


def slow_curve_trial(
    experiment: Experiment, folder: str, name: str, on_report: Callable[[Report], None] | None = None
) -> None:
    """As `curve_trial`, in the manner of `slow_trial`."""
    _begin_slowly(folder, name)
    curve_trial(experiment, folder, name, on_report)


def lost_once(
    experiment: Experiment, folder: str, name: str, on_report: Callable[[Report], None] | None = None
) -> None:
    """As `curve_trial`, but the process of alpha 6 is lost once; each leaves its number in `<folder>/<name>.pids`."""
    processes = Path(folder) / f"{name}.pids"
    processes.parent.mkdir(parents=True, exist_ok=True)
    before = processes.read_text() if processes.exists() else ""
    processes.write_text(f"{before}{os.getpid()}\n")
    if getattr(experiment.weighting, "alpha", None) == 6.0 and not before:
        os.kill(os.getpid(), signal.SIGKILL)
    curve_trial(experiment, folder, name, on_report)


def failing_run(
    experiment: Experiment, folder: str, name: str, on_report: Callable[[Report], None] | None = None
) -> None:
    """No run gets anywhere."""
    raise RunFailed("out of memory")


def ray_train_curve(
    experiment: Experiment, folder: str, name: str, on_report: Callable[[Report], None] | None = None
) -> None:
    """The evaluations of `curve_trial` from Ray Train workers, through the real trial's queue, half a second each.

    Each worker leaves the steps that it came to in `<folder>/<name>.steps`.
    """
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from raywce.cluster.trainer import fit, look_often, message_queue
    from raywce.training.trial import _Forward

    assert on_report is not None

    def worker(config: dict[str, Any]) -> None:
        for step in evaluations(experiment):
            time.sleep(0.5)
            with (Path(folder) / f"{name}.steps").open("a") as stream:
                stream.write(f"{step}\n")
            group = ray.util.get_current_placement_group().id.hex()
            ray.train.report(report(experiment, step, wers_at(experiment, step), placement_group_id=group).flat())

    if experiment.training.evaluate_at_start:
        on_report(report(experiment, 0, ORIGINAL))
    Path(folder).mkdir(parents=True, exist_ok=True)
    look_often()
    queue = message_queue()
    trainer = DataParallelTrainer(
        worker,
        train_loop_config={},
        scaling_config=ScalingConfig(
            num_workers=experiment.resources.workers, resources_per_worker={"CPU": experiment.resources.cpus_per_worker}
        ),
        run_config=RunConfig(name=name, storage_path=folder, callbacks=[_Forward(queue)]),
    )
    fit(trainer, queue, on_report)


def _begin_slowly(folder: str, name: str) -> None:
    with (Path(folder).parent.parent / "began").open("a") as stream:
        stream.write(f"{name}\n")
    time.sleep(1.0)
