import pytest
import torch
from transformers.models.whisper.modeling_whisper import shift_tokens_right

from raywce.data.labels import pad_labels
from raywce.model import decoder_inputs, load_model
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
        assert model.is_gradient_checkpointing is wanted
        features = torch.randn(2, 80, 300, generator=torch.Generator().manual_seed(0))
        model(
            input_features=features, decoder_input_ids=torch.ones(2, 3, dtype=torch.long)
        ).logits.square().sum().backward()
        gradients.append(model.model.encoder.conv1.weight.grad)
    torch.testing.assert_close(*gradients)
