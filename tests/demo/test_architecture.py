"""The micro Whisper's folder before its training, opened with transformers' own classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from raywce.demo.architecture import WINDOW_SECONDS, write_untrained
from raywce.demo.sentences import LANGUAGES

TEXTS = ["¿Dónde está el perro?", "A miña curmá mercou peixe.", "Grüße aus dem Süden.", "Le garçon a froid."] * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("untrained")
    write_untrained(out, TEXTS, LANGUAGES)
    return out


def test_any_text_comes_back_from_the_tokenizer(folder: Path) -> None:
    tokenizer = WhisperProcessor.from_pretrained(folder).tokenizer
    for text in (*TEXTS, "Žluťoučký kůň 漢字 😀"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_prefix_is_whispers(folder: Path, language: str) -> None:
    tokenizer = WhisperProcessor.from_pretrained(folder, language=language, task="transcribe").tokenizer
    prefix = tokenizer.convert_ids_to_tokens(tokenizer.prefix_tokens)
    assert prefix == ["<|startoftranscript|>", f"<|{language}|>", "<|transcribe|>", "<|notimestamps|>"]


def test_it_takes_its_window_and_generates_in_each_language(folder: Path) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    extractor = WhisperProcessor.from_pretrained(folder).feature_extractor
    features = extractor(np.zeros(16_000, np.float32), sampling_rate=16_000, return_tensors="pt").input_features
    assert features.shape == (1, 80, 100 * WINDOW_SECONDS)
    for language in LANGUAGES:
        tokens = model.generate(features, language=language, task="transcribe", max_new_tokens=5)
        assert tokens.shape[0] == 1
        assert not torch.isin(tokens[0, 4:], torch.tensor(model.generation_config.suppress_tokens)).any()


def test_the_weights_follow_from_the_seed_alone(tmp_path: Path, folder: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for name, seed in (("same", 0), ("other", 1)):
        write_untrained(tmp_path / name, TEXTS, LANGUAGES, seed=seed)
    assert torch.equal(before, torch.get_rng_state())
    first, same, other = (
        (path / "model.safetensors").read_bytes() for path in (folder, tmp_path / "same", tmp_path / "other")
    )
    assert first == same != other
