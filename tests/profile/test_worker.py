"""A profile in this process; Ray Train's few functions are stood in for, the steps are real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch

from raywce.data.loader import StepBatch
from raywce.evaluation.greedy import encoded
from raywce.experiment.schema import Experiment
from raywce.profile.worker import predicted, profile_worker, ways
from raywce.training.dev import DevSet
from raywce.training.step import Stepper, Unread
from tests.tiny_corpus import write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper
from tests.training.session import Session


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_tiny_whisper(folder / "model", chunk_length=3)
    return write_tiny_corpus(folder, {"gl": 6, "es": 20}, {"gl": 4, "es": 8})


@pytest.fixture
def profiled(inputs: Path, tmp_path: Path) -> Any:
    threads = torch.get_num_threads()

    def profile(seconds: float = 2.0, **sections: Any) -> tuple[Session, dict[str, Any]]:
        tree: dict[str, Any] = {
            "name": "a",
            "model": {"checkpoint": str(inputs / "model")},
            "data": {"folder": str(inputs), "cache": str(inputs / "cache")},
            "languages": {"low_resource": ["gl"], "high_resource": ["es"]},
            "training": {"steps": 4, "batch_size": 4},
            **sections,
        }
        session = Session(Path(mkdtemp(dir=tmp_path)))
        experiment = Experiment.model_validate(tree).model_dump()
        profile_worker({"experiment": experiment, "folder": str(session.folder)}, session, seconds)
        return session, session.reports[-1]["profile"]

    yield profile
    torch.set_num_threads(threads)


def test_what_a_training_does_is_measured(profiled: Any) -> None:
    session, found = profiled()
    assert session.saved == ["step-00000001"]
    assert found["steps"] >= 3
    assert found["utterances_per_second"] == pytest.approx(4 / found["step_s"])
    assert 0.3 < found["audio_per_second"] / found["utterances_per_second"] < 3.0  # what an utterance lasts
    parts = ("step_s", "open_s", "save_s")
    assert all(0 < found[name] < found["worker_s"] for name in parts)
    assert sum(found["shares"].values()) == pytest.approx(1.0)
    assert all(share > 0 for share in found["shares"].values())
    assert found["precision"] == "fp32"
    assert 0 < found["of_peak"] < 1
    assert found["dev"]["all"] == 12 == found["dev"]["search"] + found["dev"]["confirm"]
    assert found["decoded_per_second"] > 0
    assert found["gigabytes"] > 0.05
    assert found["encoded_per_second"] is None  # no states are kept


def test_kept_encoder_states_are_computed_before_the_steps_and_evaluations_that_are_measured(
    profiled: Any, monkeypatch: pytest.MonkeyPatch, inputs: Path
) -> None:
    encoding, at_step, at_evaluation = [0], [0], [0]

    def counting(encoder: Any, features: torch.Tensor) -> torch.Tensor:
        encoding[0] += len(features)
        return encoded(encoder, features)

    def noting(method: Callable[..., Any], noted: list[int]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            result = method(*arguments)
            noted.append(encoding[0])
            return result

        return call

    monkeypatch.setattr("raywce.training.encoder_states.encoded", counting)
    monkeypatch.setattr(Stepper, "gradients", noting(Stepper.gradients, at_step))
    monkeypatch.setattr(DevSet, "decode_share", noting(DevSet.decode_share, at_evaluation))
    frozen = {"checkpoint": str(inputs / "model"), "freeze_encoder": True}
    _, found = profiled(model=frozen, training={"steps": 3, "batch_size": 4})
    assert found["encoded_per_second"] > 0
    assert found["train"] == 26
    assert found["audio_per_second"] > 0.3 * found["utterances_per_second"]
    assert 0 < at_step[1] == at_step[found["steps"]]
    assert at_evaluation[1] > at_step[1], "dev has its own"
    assert at_evaluation[1] == at_evaluation[2]
    assert at_evaluation[-2] == at_evaluation[-1]


def test_longer_is_more_steps(profiled: Any) -> None:
    short, long = (profiled(seconds)[1]["steps"] for seconds in (0.001, 4.0))
    assert short == 3 < long


def test_ways_to_make_batches_are_tried(profiled: Any) -> None:
    _, found = profiled(20.0)
    tried = {(one["batch_size"], one["accumulation_steps"]): one for one in found["batches"]}
    assert {(4, 4), (4, 2), (4, 1), (8, 1), (16, 1), (32, 1)} == tried.keys()
    assert all(one["utterances_per_second"] > 0 and one["why_not"] is None for one in tried.values())


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")]
)
def test_a_batch_for_which_there_is_too_little_memory_ends_the_larger_ones(
    profiled: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    gradients = Stepper.gradients

    def limited(self: Stepper, batch: StepBatch, step: int) -> Unread:
        if len(batch.micro_batches[0]) > 4:
            raise error
        return gradients(self, batch, step)

    monkeypatch.setattr(Stepper, "gradients", limited)
    _, found = profiled(20.0)
    assert [one["batch_size"] for one in found["batches"] if one["why_not"] == "out of memory"] == [8]
    assert {(4, 4), (4, 2), (4, 1), (8, 1)} == {
        (one["batch_size"], one["accumulation_steps"]) for one in found["batches"]
    }


def test_without_time_the_next_one_has_its_reason(profiled: Any) -> None:
    _, found = profiled(0.001)
    assert [(one["batch_size"], one["why_not"]) for one in found["batches"] if one["why_not"]]
    assert any(one["utterances_per_second"] for one in found["batches"])  # the file's own is measured whatever it takes


def test_an_augmented_training_s_features_take_longer(profiled: Any) -> None:
    _, plain = profiled(3.0)
    noise = {"white_noise": {"probability": 1.0}, "pitch_shift": {"probability": 1.0}, "copies": "all"}
    _, augmented = profiled(3.0, augmentation={**noise, "languages": ["gl", "es"]})
    assert augmented["shares"]["features"] > plain["shares"]["features"]


def test_ways_keep_the_batch_size_by_splitting_it_and_then_double_it() -> None:
    larger, smaller = ways(32, workers=2, accumulation_steps=2)
    assert [(one.batch_size, one.accumulation_steps, one.micro_batch) for one in larger] == [
        (32, 2, 8),
        (32, 1, 16),
        (64, 1, 32),
        (128, 1, 64),
        (256, 1, 128),
    ]
    assert [(one.batch_size, one.accumulation_steps, one.micro_batch) for one in smaller] == [
        (32, 4, 4),
        (32, 8, 2),
        (32, 16, 1),
    ]
    larger, smaller = ways(6, workers=1, accumulation_steps=3)
    assert [(one.accumulation_steps, one.micro_batch) for one in larger[:2]] == [(3, 2), (1, 6)]
    assert [(one.accumulation_steps, one.micro_batch) for one in smaller] == [(6, 1)]


def test_memory_is_predicted_in_a_straight_line() -> None:
    assert predicted([], 8) is None
    assert predicted([(4, 2.0)], 8) == 4.0  # nothing is known of what is needed in any case
    assert predicted([(4, 3.0), (8, 4.0)], 16) == 6.0
    assert predicted([(4, 3.0), (8, 2.9)], 16) == 2.9
