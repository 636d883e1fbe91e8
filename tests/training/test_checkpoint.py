from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

from raywce.model import load_model
from raywce.training.checkpoint import TrainingState, load_state, load_weights, save_checkpoint
from tests.tiny_whisper import write_tiny_whisper


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_tiny_whisper(tmp_path / "source", languages=("en", "es", "gl"))


def test_a_checkpoint_gives_back_weights_and_state_to_the_bit(source: Path, tmp_path: Path) -> None:
    model = load_model(str(source))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
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
