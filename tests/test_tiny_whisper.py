"""The miniature checkpoint opens and decodes as a real one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoTokenizer,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizerFast,
)

from tests.tiny_whisper import write_tiny_whisper


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("whisper"))


def test_generates_with_a_language_per_sample(folder: Path) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(folder)
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    audio = [torch.randn(16_000).numpy(), torch.randn(8_000).numpy()]
    features = extractor(audio, sampling_rate=16_000, return_tensors="pt").input_features
    tokens = model.generate(features, language=["gl", "en"], task="transcribe", max_new_tokens=5)
    assert features.shape == (2, 80, 3000)
    assert tokens.shape[0] == 2


@pytest.mark.parametrize("kind", [AutoTokenizer, WhisperTokenizerFast])
def test_tokenizer_puts_whispers_prefix(folder: Path, kind: type) -> None:
    tokenizer = kind.from_pretrained(folder)
    tokenizer.set_prefix_tokens(language="gl", task="transcribe", predict_timestamps=False)
    identifiers = tokenizer("Avó ñ").input_ids
    expected = ["<|startoftranscript|>", "<|gl|>", "<|transcribe|>", "<|notimestamps|>"]
    assert tokenizer.convert_ids_to_tokens(identifiers[:4]) == expected
    assert identifiers[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(identifiers, skip_special_tokens=True) == "Avó ñ"


def test_same_seed_same_weights(folder: Path, tmp_path: Path) -> None:
    again = write_tiny_whisper(tmp_path / "again")
    other = write_tiny_whisper(tmp_path / "other", seed=1)
    name = "model.safetensors"
    assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert (other / name).read_bytes() != (folder / name).read_bytes()


def test_overrides_reach_model_and_features(tmp_path: Path) -> None:
    write_tiny_whisper(tmp_path, chunk_length=2, num_mel_bins=128, dropout=0.1)
    model = WhisperForConditionalGeneration.from_pretrained(tmp_path)
    extractor = WhisperFeatureExtractor.from_pretrained(tmp_path)
    features = extractor(torch.randn(8_000).numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    assert features.shape == (1, 128, 200)
    assert model.config.dropout == 0.1
    assert model.model.encoder(features).last_hidden_state.shape == (1, 100, 16)
