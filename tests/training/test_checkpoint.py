import resource
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

from raywce.errors import InputError
from raywce.model import load_model
from raywce.runs.folder import STATE_FILE
from raywce.storage.failures import is_storage_failure
from raywce.training.checkpoint import TrainingState, load_checkpoint, load_state, load_weights, save_checkpoint
from tests.tiny_whisper import write_tiny_whisper


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_tiny_whisper(tmp_path / "source", languages=("en", "es", "gl"))


def after_a_step(model: WhisperForConditionalGeneration) -> torch.optim.AdamW:
    """Its optimizer, behind a step by random gradients."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return optimizer


def test_a_checkpoint_gives_back_weights_and_state_to_the_bit(source: Path, tmp_path: Path) -> None:
    model = load_model(str(source))
    optimizer = after_a_step(model)
    state = TrainingState(7, optimizer.state_dict(), None, 12.5, {"step": 7, "wer/gl": 0.25, "utterances": "x"})
    save_checkpoint(tmp_path / "saved", model, state, str(source), None)

    again = load_model(str(source))
    load_weights(again, tmp_path / "saved")
    for (name, before), after in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(before, after), name
    read = load_state(tmp_path / "saved")
    assert (read.step, read.seconds, read.report) == (7, 12.5, state.report)
    for index, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, read.optimizer["state"][index][name])


@pytest.mark.parametrize("part", ["model.safetensors", STATE_FILE])
def test_a_disk_that_is_full_is_a_failure_of_the_storage(source: Path, tmp_path: Path, part: str) -> None:
    model = load_model(str(source))
    state = TrainingState(7, after_a_step(model).state_dict(), None, 12.5, {})
    save_checkpoint(tmp_path / "whole", model, state, str(source), None)
    most = (tmp_path / "whole" / part).stat().st_size - 1000  # of the state, which is larger, the weights are written
    limit, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limit[1]))  # of each file
    try:
        with pytest.raises(OSError, match="No space left on device") as found:
            save_checkpoint(tmp_path / "saved", model, state, str(source), None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert is_storage_failure(f"{found.value}")


def test_a_save_takes_no_memory_for_the_optimizers_state(source: Path, tmp_path: Path) -> None:
    model = load_model(str(source))
    optimizer = after_a_step(model)
    # Much more than the model, whose own writing is transformers' matter.
    for moments in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            moments[name] = moments[name].flatten().repeat(20)
    state = TrainingState(7, optimizer.state_dict(), None, 12.5, {})
    size = sum(value.nbytes for moments in optimizer.state.values() for value in moments.values())
    with torch.profiler.profile(profile_memory=True) as watched:
        save_checkpoint(tmp_path / "saved", model, state, str(source), None)
    assert watched.profiler is not None
    taken = sum(event.nbytes() for event in watched.profiler.kineto_results.events() if event.nbytes() > 0)
    assert size > 1_000_000
    assert taken <= 0.05 * size
    assert (tmp_path / "saved" / "training_state.pt").stat().st_size >= size


def test_a_checkpoint_is_a_complete_transformers_folder(source: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "saved", load_model(str(source)), TrainingState(1, {}, None, 0.0, {}), str(source), None)
    folder = str(tmp_path / "saved")
    model = WhisperForConditionalGeneration.from_pretrained(folder)
    original = WhisperForConditionalGeneration.from_pretrained(source)
    assert model.generation_config.lang_to_id == original.generation_config.lang_to_id
    assert model.generation_config.task_to_id == original.generation_config.task_to_id
    assert (
        AutoTokenizer.from_pretrained(folder)("ola")["input_ids"]
        == AutoTokenizer.from_pretrained(source)("ola")["input_ids"]
    )
    assert (
        WhisperFeatureExtractor.from_pretrained(folder).to_dict()
        == WhisperFeatureExtractor.from_pretrained(source).to_dict()
    )
    assert "model.encoder.conv1.weight" in load_file(tmp_path / "saved" / "model.safetensors")


@pytest.mark.parametrize("file", ["training_state.pt", "model.safetensors", "config.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "zeros"])
def test_a_damaged_checkpoint_is_named_with_what_to_remove(
    source: Path, tmp_path: Path, file: str, damage: str
) -> None:
    model = load_model(str(source))
    for step in (2, 4):
        folder = tmp_path / "trial" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        save_checkpoint(folder, model, TrainingState(step, {}, None, 0.0, {}), str(source), None)
    last, data = folder / file, (folder / file).read_bytes()
    last.unlink()
    if damage != "gone":
        last.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "zeros": bytes(len(data))}[damage])

    with pytest.raises(InputError) as error:
        load_checkpoint(model, folder, str(folder))
    (problem,) = error.value.problems
    assert problem.path == str(folder)
    assert problem.got.startswith("training_state.pt: " if file == "training_state.pt" else "model: ")
    assert problem.do == "Remove this folder, and the same command resumes from step-00000002"
    assert load_checkpoint(model, folder.with_name("step-00000002"), "step-00000002").step == 2


def test_without_a_checkpoint_before_the_damaged_one_the_training_begins_at_the_first_step(
    source: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "step-00000002"
    folder.mkdir()
    with pytest.raises(InputError, match="the same command begins at the first step"):
        load_checkpoint(load_model(str(source)), folder, str(folder))
