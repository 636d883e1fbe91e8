from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import WhisperForConditionalGeneration

from raywce.errors import InputError
from raywce.lora import LoraSettings, add_adapter, has_adapter, load_adapter, save_average
from raywce.model import load_average, load_model, save_model
from tests.tiny_whisper import write_tiny_whisper

SETTINGS = LoraSettings(rank=3, alpha=6, dropout=0.0, targets=["q_proj", "fc1"])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_whisper(tmp_path_factory.mktemp("model"), chunk_length=3))


def adapted(source: str, seed: int = 0, settings: LoraSettings = SETTINGS) -> WhisperForConditionalGeneration:
    """A model with an adapter that changes it."""
    model = load_model(source)
    add_adapter(model, settings, seed)
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=draws), alpha=0.3)
    return model


def trained(model: WhisperForConditionalGeneration) -> dict[str, torch.Tensor]:
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


def logits(model: WhisperForConditionalGeneration) -> torch.Tensor:
    draws = torch.Generator().manual_seed(0)
    features, tokens = torch.randn(2, 80, 300, generator=draws), torch.arange(1, 7).reshape(2, 3)
    with torch.no_grad():
        return model.eval()(input_features=features, decoder_input_ids=tokens).logits


def test_at_first_it_changes_nothing_and_it_alone_is_trained(source: str) -> None:
    model = load_model(source)
    before = logits(model)
    assert not has_adapter(model)
    state = torch.random.get_rng_state()
    add_adapter(model, SETTINGS, seed=0)
    assert has_adapter(model)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(logits(model), before)
    # In each layer of the encoder one q_proj and one fc1; the decoder's has two attentions.
    shapes = {"fc1": [(3, 16), (32, 3)], "q_proj": [(3, 16), (16, 3)]}
    expected = 2 * shapes["fc1"] + 3 * shapes["q_proj"]
    assert sorted(tuple(one.shape) for one in trained(model).values()) == sorted(expected)


def test_beside_a_frozen_encoder_the_decoder_alone_has_one(source: str) -> None:
    model = load_model(source, freeze_encoder=True)
    add_adapter(model, SETTINGS, seed=0)
    assert len(trained(model)) == 6
    assert all(name.startswith("model.decoder.") for name in trained(model))


def test_its_first_values_follow_from_the_seed(source: str) -> None:
    def first(seed: int) -> torch.Tensor:
        model = load_model(source)
        add_adapter(model, SETTINGS, seed)
        return torch.cat([one.flatten() for one in trained(model).values()])

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_merged_the_scaled_products_are_added_to_the_weights(source: str, tmp_path: Path) -> None:
    model = adapted(source)
    save_model(model, source, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    merged, own = load_model(str(tmp_path)), load_model(source)
    parts = trained(model)
    changed = 0
    for name, before in own.named_parameters():
        expected, place = before, name.removesuffix("weight")
        if f"{place}lora_A.default.weight" in parts:
            a, b = parts[f"{place}lora_A.default.weight"], parts[f"{place}lora_B.default.weight"]
            expected = before + 6 / 3 * b @ a
            changed += 1
        torch.testing.assert_close(merged.get_parameter(name), expected, msg=name)
    assert changed == 5
    torch.testing.assert_close(logits(merged), logits(model))
    assert trained(merged).keys() == trained(own).keys(), "a fine-tuning can begin with it"


def test_peft_opens_what_is_saved(source: str, tmp_path: Path) -> None:
    model = adapted(source)
    save_model(model, source, tmp_path)
    theirs = PeftModel.from_pretrained(WhisperForConditionalGeneration.from_pretrained(source), str(tmp_path))
    torch.testing.assert_close(logits(theirs.merge_and_unload()), logits(model))


def test_what_is_saved_is_loaded_to_the_bit_and_another_shape_is_refused(source: str, tmp_path: Path) -> None:
    model, again = adapted(source), load_model(source)
    save_model(model, source, tmp_path)
    add_adapter(again, SETTINGS, seed=9)
    load_adapter(again, tmp_path)
    assert all(torch.equal(one, trained(again)[name]) for name, one in trained(model).items())
    other = load_model(source)
    add_adapter(other, LoraSettings(3, 6, 0.0, ["v_proj"]), seed=0)
    with pytest.raises(ValueError, match="other matrices"):
        load_adapter(other, tmp_path)


def test_an_average_of_adapters_is_that_of_the_merged_models(source: str, tmp_path: Path) -> None:
    folders = [tmp_path / str(seed) for seed in range(3)]
    for seed, folder in enumerate(folders):
        save_model(adapted(source, seed), source, folder)
    average = Path(shutil.copytree(folders[0], tmp_path / "average"))
    save_average(folders, average)
    means = load_average([str(folder) for folder in folders]).state_dict()
    for name, weight in load_model(str(average)).state_dict().items():
        torch.testing.assert_close(weight, means[name], msg=name)


def test_an_adapter_of_another_model_is_named(source: str, tmp_path: Path) -> None:
    save_model(adapted(source), source, tmp_path / "adapter")
    wider = write_tiny_whisper(tmp_path / "wider", d_model=32, chunk_length=3)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": str(wider)})
    )
    with pytest.raises(InputError, match="must hold an adapter that fits its model"):
        load_model(str(tmp_path / "adapter"))
