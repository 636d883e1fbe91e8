"""Training and evaluation with a frozen encoder: its states kept, beside computing them; run with -m benchmark -s.

`RAYWCE_PREPARED` names a folder that `raywce prepare` wrote. States are computed beforehand: what is compared is what
each further training of a search takes.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch

from raywce.experiment.schema import Experiment
from raywce.profile.peak import operations
from raywce.training.setup import Worker
from raywce.training.step import update
from raywce.trial_report import Report
from tests.benchmarks.test_evaluation_before import named, sample
from tests.speech import WHISPER, folder_of
from tests.training.session import Session

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(2 * 3600)]

ROUNDS, BATCH = 3, 8
STEPS = {"batch": 6, "full": 3}
CLIPS = 48


def worker_of(folder: Path, prepared: Path, context: str, languages: list[str], name: str) -> Worker:
    low, *high = languages
    tree: dict[str, Any] = {
        "name": "frozen",
        "model": {"checkpoint": str(folder_of(WHISPER)), "freeze_encoder": True},
        "data": {"folder": str(prepared), "cache": str(folder / "cache")},
        "languages": {"low_resource": [low], "high_resource": high},
        "training": {"steps": STEPS[context], "batch_size": BATCH, "encoder_context": context},
        "evaluation": {"batch_size": BATCH, "encoder_context": context},
        "resources": {"cpus_per_worker": 2},
    }
    return Worker(Experiment.model_validate(tree), str(folder / name), Session(folder / name))


def trained(worker: Worker) -> int:
    stepper, count = worker.stepper(worker.wrapped()), 0
    for number, batch in enumerate(worker.loader_of(BATCH, 1).batches(0)):
        stepper.gradients(batch, number)
        update(worker.model, worker.optimizer, worker.settings.max_gradient_norm)
        count += len(batch.ids)
    return count


def evaluated(worker: Worker) -> int:
    worker.dev.evaluate(worker.model, Report(0), worker.folder)
    return len(worker.dev.dev)


@pytest.mark.parametrize("context", STEPS)
def test_kept_states(tmp_path: Path, context: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    prepared, data = named("RAYWCE_PREPARED"), tmp_path / "data"
    languages = sample(prepared, CLIPS, data)
    (data / "train").symlink_to(prepared / "train")
    workers = {"kept": worker_of(tmp_path, data, context, languages, "kept")}
    monkeypatch.setattr("raywce.training.setup.fits", lambda needed, cache: False)
    workers["computed"] = worker_of(tmp_path, data, context, languages, "computed")
    print()
    missed = []
    for what, goal in ((trained, {"batch": 3.0, "full": 5.0}[context]), (evaluated, 1.5)):
        rates: dict[str, list[float]] = {name: [] for name in workers}
        what(workers["kept"])
        for _ in range(ROUNDS):
            for name, worker in workers.items():
                start = time.perf_counter()
                rates[name].append(what(worker) / (time.perf_counter() - start))
        counted = {name: operations(partial(what, worker)) for name, worker in workers.items()}
        most = counted["computed"] / counted["kept"]
        ratio = median(one / other for one, other in zip(rates["kept"], rates["computed"], strict=True))
        kept, computed = (median(rates[name]) for name in ("kept", "computed"))
        print(
            f"{context:6} {what.__name__:10} clips a second: {kept:6.2f} kept, {computed:6.2f} computed, "
            f"{ratio:5.2f} x (goal {goal}; operations {most:.2f} x)",
            flush=True,
        )
        missed += [f"{what.__name__}: {ratio:.2f}"] if ratio < goal else []
    assert not missed
