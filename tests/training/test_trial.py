"""One trial on a real local Ray cluster with two workers: resumed exactly, failed rightly, checkpoints kept rightly."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from raywce.cluster.connect import Cluster
from raywce.experiment.schema import Experiment
from raywce.training.checkpoint import load_state
from raywce.training.session import Session
from raywce.training.trial import TrialFailed, run_alone, run_trial
from raywce.trial_report import Report
from tests.demo_world import command_lines
from tests.tiny_corpus import write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_tiny_whisper(folder / "model", chunk_length=3, dropout=0.1)
    return write_tiny_corpus(folder, {"gl": 6, "es": 20, "en": 20}, {"gl": 2, "es": 2, "en": 2})


def experiment(inputs: Path, optimizer: dict[str, Any] | None = None, **training: Any) -> Experiment:
    values = {"steps": 8, "batch_size": 8, "accumulation_steps": 2, "checkpoint_every": 2, "log_every": 1, "seed": 3}
    return Experiment.model_validate(
        {
            "name": "trial",
            "model": {"checkpoint": str(inputs / "model")},
            "data": {
                "folder": str(inputs),
                "cache": str(inputs / "cache"),
                "sampling": {"both_kinds": True, "duration_window": 3},
            },
            "languages": {"low_resource": ["gl"], "high_resource": ["es", "en"]},
            "weighting": {"kind": "dynamic", "alpha": 1.5},
            "training": {**values, **training, "optimizer": optimizer or {"learning_rate": 1e-3}},
            "resources": {"workers": 2},
        }
    )


class Reports:
    """Collects reports; kills one worker when a step is reported for the first time."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.kill_at, self.killed = kill_at, 0
        self.reports: list[Report] = []

    def __call__(self, report: Report) -> None:
        self.reports.append(report)
        if report.step == self.kill_at and not self.killed:
            lines = command_lines(os.getpid())
            self.killed = next(pid for pid, line in lines.items() if "RayTrainWorker" in " ".join(line))
            os.kill(self.killed, signal.SIGKILL)


def weights(trial: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(trial / f"step-{step:08d}" / "model.safetensors")


@dataclass(frozen=True)
class Trained:
    """A trial that nothing came in the way of: evaluated, and so saved, each second step."""

    settings: Experiment
    folder: Path
    reports: list[Report]


@pytest.fixture(scope="module")
def trained(cluster: Cluster, inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    settings = experiment(inputs, evaluate_every=2, checkpoint_every=None, evaluate_at_start=True)
    folder, reports = tmp_path_factory.mktemp("trained"), Reports()
    run_trial(settings, str(folder), "trial", reports)
    return Trained(settings, folder / "trial", reports.reports)


def check_equal(reports: list[Report], trained: Trained) -> None:
    """Each step's last report has the undisturbed figures."""
    last = {report.step: report for report in reports}
    assert list(last) == [report.step for report in trained.reports]
    for report in trained.reports:
        same = last[report.step]
        assert (report.loss, report.alpha, report.rates) == (same.loss, same.alpha, same.rates), report.step
        assert report.objective == same.objective


def test_a_killed_worker_changes_no_bit(trained: Trained, inputs: Path, tmp_path: Path) -> None:
    disturbed = Reports(kill_at=5)
    run_trial(trained.settings, str(tmp_path), "disturbed", disturbed)

    assert disturbed.killed
    assert disturbed.reports[-1].restarts == 1
    assert trained.reports[-1].restarts == 0
    repeated = [report.step for report in disturbed.reports]
    assert repeated.count(5) == 2, "it resumes from the checkpoint of step 4"
    assert repeated.count(4) == 2, "its evaluation is given again: it may have been lost"
    assert repeated.count(3) == 1
    check_equal(disturbed.reports, trained)

    expected = weights(trained.folder, 8)
    for name, value in weights(tmp_path / "disturbed", 8).items():
        assert torch.equal(value, expected[name]), name
    start = load_file(inputs / "model" / "model.safetensors")
    assert any(not torch.equal(value, start[name]) for name, value in expected.items())


def test_the_last_and_the_best_checkpoint_are_kept_and_a_finished_trial_is_not_trained_again(
    trained: Trained,
) -> None:
    evaluated = {report.step: report.objective for report in trained.reports if report.objective is not None}
    assert list(evaluated) == [0, 2, 4, 6, 8]
    best = min((step for step in evaluated if step), key=lambda step: evaluated[step])
    kept = {int(path.name.removeprefix("step-")) for path in trained.folder.glob("step-*")}
    assert 8 in kept
    assert any(evaluated[step] == evaluated[best] for step in kept)
    assert len(kept) <= 2
    assert load_state(trained.folder / "step-00000008").step == 8

    again = Reports()
    run_trial(trained.settings, str(trained.folder.parent), "trial", again)
    assert [report.step for report in again.reports] == [8]
    assert again.reports[0].objective == evaluated[8]


def test_a_training_whose_list_of_checkpoints_is_torn_begins_again(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.folder, tmp_path / "torn")
    record = tmp_path / "torn" / "checkpoint_manager_snapshot.json"
    record.write_text(record.read_text()[:40])
    again = Reports()
    run_trial(trained.settings, str(tmp_path), "torn", again)
    check_equal(again.reports, trained)


def test_without_a_damaged_checkpoint_a_training_resumes_from_the_one_before(trained: Trained, tmp_path: Path) -> None:
    trial = tmp_path / "damaged"
    shutil.copytree(trained.folder, trial)
    last = trial / "step-00000008"
    state = last / "training_state.pt"
    state.write_bytes(state.read_bytes()[:100])
    *before, _ = sorted(folder.name for folder in trial.glob("step-*"))
    then = f"resumes from {before[-1]}" if before else "begins at the first step"
    with pytest.raises(TrialFailed, match=f"step-00000008: .*training_state.pt.*Remove this folder.* {then}"):
        run_trial(trained.settings, str(tmp_path), "damaged")

    shutil.rmtree(last)
    again = Reports()
    run_trial(trained.settings, str(tmp_path), "damaged", again)
    start = int(before[-1].removeprefix("step-")) if before else -1
    assert [report.step for report in again.reports] == [r.step for r in trained.reports if r.step > start]
    expected = weights(trained.folder, 8)
    assert all(torch.equal(value, expected[name]) for name, value in weights(trial, 8).items())


@pytest.mark.usefixtures("cluster")
def test_a_loss_that_is_not_finite_fails_with_the_step_and_the_ids(inputs: Path, tmp_path: Path) -> None:
    reports = Reports()
    diverging = experiment(inputs, {"learning_rate": 1e30})
    with pytest.raises(TrialFailed, match=r"step \d: .* must be finite.*utterances: .*(gl|es|en)-train-\d+") as failed:
        run_trial(diverging, str(tmp_path), "diverging", reports)
    assert len(str(failed.value).splitlines()) == 1
    assert all(report.restarts == 0 for report in reports.reports), "another attempt would end the same way"


@pytest.mark.usefixtures("cluster")
def test_missing_data_fails_in_one_line(inputs: Path, tmp_path: Path) -> None:
    lacking = experiment(inputs)
    lacking = lacking.model_copy(update={"data": lacking.data.model_copy(update={"folder": str(tmp_path / "none")})})
    with pytest.raises(TrialFailed, match="must be a folder that `raywce prepare` wrote") as failed:
        run_trial(lacking, str(tmp_path), "lacking")
    assert len(str(failed.value).splitlines()) == 1


def alone(settings: Experiment) -> Experiment:
    return settings.model_copy(update={"resources": settings.resources.model_copy(update={"workers": 1})})


class Cut(Exception):
    """Error of a process that is lost."""


def cut_at(step: int) -> Callable[[Report], None]:
    def cut(report: Report) -> None:
        if report.step == step:
            raise Cut

    return cut


@pytest.mark.usefixtures("cluster")
def test_the_only_worker_in_this_process_does_as_ray_trains_does(
    trained: Trained, one_thread: None, tmp_path: Path
) -> None:
    by_ray, here = Reports(), Reports()
    run_trial(alone(trained.settings), str(tmp_path), "by-ray", by_ray)
    run_alone(alone(trained.settings), str(tmp_path), "here", here)
    check_equal(here.reports, Trained(trained.settings, tmp_path / "by-ray", by_ray.reports))
    assert [report.checkpoint for report in here.reports if report.checkpoint] == [
        f"{tmp_path}/here/step-{step:08d}" for step in (2, 4, 6, 8)
    ]
    assert [path.name for path in (tmp_path / "here").glob("step-*")] == ["step-00000008"]
    expected = weights(tmp_path / "by-ray", 8)
    assert all(torch.equal(value, expected[name]) for name, value in weights(tmp_path / "here", 8).items())


def test_a_process_that_takes_a_lost_one_s_place_changes_no_bit(
    trained: Trained, one_thread: None, tmp_path: Path
) -> None:
    whole, second = Reports(), Reports()
    run_alone(alone(trained.settings), str(tmp_path), "whole", whole)
    with pytest.raises(Cut):
        run_alone(alone(trained.settings), str(tmp_path), "cut", cut_at(5))
    half = tmp_path / "cut" / "step-00000006"  # as it is left by a process that is lost while it writes
    shutil.copytree(tmp_path / "cut" / "step-00000004", half)
    (half / "training_state.pt").rename(half / "training_state.pt.partial")
    run_alone(alone(trained.settings), str(tmp_path), "cut", second)
    assert [report.step for report in second.reports] == [4, 5, 6, 7, 8]  # the evaluation at 4 may have been lost
    check = Trained(trained.settings, tmp_path / "whole", [one for one in whole.reports if one.step >= 4])
    check_equal(second.reports, check)
    expected = weights(tmp_path / "whole", 8)
    assert all(torch.equal(value, expected[name]) for name, value in weights(tmp_path / "cut", 8).items())


def test_a_full_storage_ends_a_trial_with_its_reason(
    trained: Trained, one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pyarrow.fs.copy_files", full)
    with pytest.raises(TrialFailed, match="No space left on device"):
        run_alone(alone(trained.settings), str(tmp_path), "full")


def _too_large(config: Mapping[str, Any], session: Session) -> None:
    import torch

    from raywce.training.loop import train_worker

    Path(f"{config['folder']}.{session.rank}.{time.time_ns()}").touch()
    from raywce.training.step import Stepper

    if session.rank == 1:  # the other one waits for it

        def gradients(*_: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …")

        Stepper.gradients = gradients  # type: ignore[assignment, method-assign]
    train_worker(config, session)


def test_too_little_memory_of_one_worker_ends_the_training_at_once(
    cluster: Cluster, inputs: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrialFailed) as failed:
        run_trial(experiment(inputs, max_failures=3), str(tmp_path), "large", worker=_too_large)
    assert str(failed.value) == (
        "out of memory in a step with 2 utterances at once and an encoder context of 3 s: CUDA out of memory. "
        "Lower training.batch_size, raise training.accumulation_steps, or set training.encoder_context: batch or "
        "model.gradient_checkpointing: true"
    )
    assert len(list(tmp_path.glob("large.*"))) == 2, "each worker was started once"
