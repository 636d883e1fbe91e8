import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import WhisperForConditionalGeneration
from transformers.models.whisper.modeling_whisper import shift_tokens_right

from raywce.data.labels import IGNORED, pad_labels
from raywce.errors import InputError
from raywce.loss import counted_positions
from raywce.model import UtteranceLosses, decoder_inputs, load_average, load_model, save_model
from tests.tiny_whisper import write_tiny_whisper


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_whisper(tmp_path_factory.mktemp("model"), chunk_length=3, apply_spec_augment=True))


def test_the_start_token_stands_once_in_front(source: str) -> None:
    model = load_model(source)
    labels = pad_labels([[5, 6, 7, model.config.eos_token_id], [8, model.config.eos_token_id]])
    inputs = decoder_inputs(model, labels)
    config = model.config
    assert torch.equal(inputs, shift_tokens_right(labels, config.pad_token_id, config.decoder_start_token_id))
    assert (inputs == config.decoder_start_token_id).sum(dim=1).tolist() == [1, 1]


def test_a_weight_that_is_not_there_is_no_random_one(source: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(source, tmp_path / "whisper"))
    weights = load_file(folder / "model.safetensors")
    del weights["model.encoder.conv1.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"must hold every weight of the model, but got 1 missing: .*conv1\.weight"):
        load_model(str(folder))


def test_a_frozen_encoder_has_no_trainable_parameter(source: str) -> None:
    model = load_model(source, freeze_encoder=True)
    assert not any(parameter.requires_grad for parameter in model.model.encoder.parameters())
    assert any(parameter.requires_grad for parameter in model.model.decoder.parameters())


def test_the_sinusoids_of_the_encoder_are_constants(source: str) -> None:
    frozen = [name for name, one in load_model(source).named_parameters() if not one.requires_grad]
    assert frozen == ["model.encoder.embed_positions.weight"]


def test_transformers_own_spec_augment_is_off(source: str) -> None:
    model = load_model(source)
    assert model.training
    features, labels = torch.randn(2, 80, 300), torch.zeros(2, 3, dtype=torch.long)
    first, second = (model(input_features=features, decoder_input_ids=labels).logits for _ in range(2))
    assert torch.equal(first, second)


def test_gradient_checkpointing_changes_no_gradient(source: str) -> None:
    gradients = []
    for wanted in (False, True):
        model = load_model(source, gradient_checkpointing=wanted)
        assert model.is_activation_checkpointing is wanted
        features = torch.randn(2, 80, 300, generator=torch.Generator().manual_seed(0))
        model(
            input_features=features, decoder_input_ids=torch.ones(2, 3, dtype=torch.long)
        ).logits.square().sum().backward()
        gradients.append(model.model.encoder.conv1.weight.grad)
    torch.testing.assert_close(*gradients)


def test_an_average_is_the_mean_of_the_weights(source: str, tmp_path: Path) -> None:
    folders = []
    for seed in range(3):
        model, draws = load_model(source), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=draws), alpha=0.1)
        folders.append(str(tmp_path / str(seed)))
        save_model(model, source, Path(folders[-1]))
    states = [load_model(folder).state_dict() for folder in folders]
    for name, mean in load_average(folders).state_dict().items():
        torch.testing.assert_close(mean, torch.stack([state[name] for state in states]).mean(dim=0))
    alone = load_average(folders[:1]).state_dict()
    assert all(torch.equal(tensor, states[0][name]) for name, tensor in alone.items())


def encoded(model: torch.nn.Module, features: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval().model.encoder(features).last_hidden_state


def test_a_shorter_context_is_whisper_with_fewer_positions(source: str, tmp_path: Path) -> None:
    """Transformers' own encoder, its table of positions cut, is the independent truth."""
    model = load_model(source)
    short = WhisperForConditionalGeneration.from_pretrained(source).eval()
    encoder, positions = short.model.encoder, 60
    encoder.config.max_source_positions = positions
    encoder.embed_positions = torch.nn.Embedding.from_pretrained(encoder.embed_positions.weight[:positions])
    features = torch.randn(2, 80, 2 * positions, generator=torch.Generator().manual_seed(0))
    assert torch.equal(encoded(model, features), encoder(features).last_hidden_state)


def test_contexts_of_all_lengths_one_after_the_other(source: str) -> None:
    model, plain = load_model(source), WhisperForConditionalGeneration.from_pretrained(source)
    whole = torch.randn(1, 80, 300, generator=torch.Generator().manual_seed(0))
    first = encoded(model, whole)
    for frames in (2, 100, 298, 300):
        assert encoded(model, whole[..., :frames]).shape[1] == frames // 2
    assert torch.equal(encoded(model, whole), first)
    assert torch.equal(encoded(plain, whole), first)
    assert torch.equal(encoded(copy.deepcopy(model), whole[..., :100]), encoded(model, whole[..., :100]))


@pytest.mark.parametrize("frames", [0, 3, 302])
def test_a_context_that_the_encoder_has_no_positions_for(source: str, frames: int) -> None:
    with pytest.raises(ValueError, match=f"2, 4, … or 300 frames, but got {frames}"):
        load_model(source).model.encoder(torch.zeros(1, 80, frames))


def test_what_is_saved_has_the_whole_window(source: str, tmp_path: Path) -> None:
    model = load_model(source)
    encoded(model, torch.zeros(1, 80, 100))
    save_model(model, source, tmp_path)
    saved = WhisperForConditionalGeneration.from_pretrained(tmp_path)
    assert saved.config.max_source_positions == 150
    assert saved.model.encoder.embed_positions.weight.shape == (150, 16)
    assert encoded(saved, torch.zeros(1, 80, 300)).shape[1] == 150


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_losses_are_those_of_cross_entropy_on_the_logits(source: str, gradient_checkpointing: bool) -> None:
    """Also of the tied vocabulary, which is used at both ends."""
    labels = pad_labels([[5, 6, 7, 9], [8, 9]])
    features = torch.randn(2, 80, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.tensor([3.0, 1.0], dtype=torch.float64)
    own = load_model(source, gradient_checkpointing=gradient_checkpointing).double()
    losses = UtteranceLosses(own)(features, labels, counted_positions(labels))
    (losses * weights).sum().backward()
    plain = load_model(source).double()
    logits = plain(input_features=features, decoder_input_ids=decoder_inputs(plain, labels)).logits
    expected = functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none").sum(1)
    (expected * weights).sum().backward()
    torch.testing.assert_close(losses, expected, rtol=1e-9, atol=0)
    for (name, one), other in zip(own.named_parameters(), plain.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12, msg=name)


def test_neither_configuration_holds_a_prompt_of_its_own(source: str, tmp_path: Path) -> None:
    old = Path(shutil.copytree(source, tmp_path / "old"))
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps(config | {"forced_decoder_ids": [[1, 259], [2, 358]]}))
    model = load_model(str(old))
    assert getattr(model.generation_config, "forced_decoder_ids", None) is None
    assert getattr(model.config, "forced_decoder_ids", None) is None


def test_an_adapter_that_transformers_applied_is_refused(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raywce.model.has_adapter", lambda model: True)
    with pytest.raises(InputError, match="must be a whole model, or an adapter's folder on this machine"):
        load_model(source)
