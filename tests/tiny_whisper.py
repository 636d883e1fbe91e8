"""A whole Whisper checkpoint folder in miniature: random weights, a byte-level tokenizer, no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, pre_tokenizers
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizerFast,
)
from transformers.models.whisper.tokenization_whisper import LANGUAGES

FRAMES_PER_SECOND = 50  # encoder positions a second of audio
SMALLEST = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 80,
    "max_target_positions": 448,
    "dropout": 0.0,
}


def write_tiny_whisper(
    folder: Path,
    languages: Sequence[str] = ("en", "es", "gl"),
    seed: int = 0,
    chunk_length: int = 30,
    words: int = 0,
    **config_overrides: Any,
) -> Path:
    """Write a random-weight Whisper (16 wide, one layer a side) that transformers opens, and return `folder`.

    Args:
        folder: where to write; made if needed.
        languages: codes that the model can generate in (its `lang_to_id`).
        seed: seeds the weights; the global random state is left as it was.
        chunk_length: seconds that the encoder and the feature extractor take.
        words: so many tokens more than bytes; the last is empty, as in Whisper's multilingual vocabulary.
        config_overrides: any other field of `WhisperConfig` (`dropout=0.1`, `d_model=32`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(languages, words)
    positions = {"max_source_positions": chunk_length * FRAMES_PER_SECOND}
    config = _config(tokenizer, {**SMALLEST, **positions, **config_overrides})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = WhisperForConditionalGeneration(config)
    model.generation_config = _generation_config(tokenizer, config, languages)
    extractor = WhisperFeatureExtractor(feature_size=config.num_mel_bins, chunk_length=chunk_length)
    model.save_pretrained(folder)
    WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def _tokenizer(languages: Sequence[str], words: int) -> WhisperTokenizerFast:
    """One token a byte, then Whisper's special tokens, then its 1,501 timestamps, in Whisper's order.

    All of Whisper's languages have their token, as the tokenizer finds a language by its place among them.
    """
    vocab = {byte: index for index, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    names = [*(f"word{index}" for index in range(words - 1)), ""] if words else []
    vocab |= {name: len(vocab) + index for index, name in enumerate(names)}
    tokenizer = WhisperTokenizerFast(vocab=vocab, merges=[], pad_token="<|endoftext|>", model_max_length=448)
    names = ["startoftranscript", *dict.fromkeys([*LANGUAGES, *languages])]
    names += ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    tokenizer.add_tokens([AddedToken(f"<|{name}|>", normalized=False, special=True) for name in names])
    tokenizer.add_tokens([AddedToken(f"<|{step * 0.02:.2f}|>", normalized=False) for step in range(1501)])
    return tokenizer


def _config(tokenizer: WhisperTokenizerFast, fields: dict[str, Any]) -> WhisperConfig:
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    start = tokenizer.convert_tokens_to_ids("<|startoftranscript|>")
    special = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    begin_suppress_tokens = [tokenizer.convert_tokens_to_ids("Ġ"), end]
    return WhisperConfig(
        vocab_size=len(tokenizer), begin_suppress_tokens=begin_suppress_tokens, **{**special, **fields}
    )


def _generation_config(
    tokenizer: WhisperTokenizerFast, config: WhisperConfig, languages: Sequence[str]
) -> GenerationConfig:
    def identifier(name: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(f"<|{name}|>"))

    special = ["startoftranscript", "translate", "transcribe", "startoflm", "startofprev", "nospeech"]
    return GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        is_multilingual=True,
        lang_to_id={f"<|{code}|>": identifier(code) for code in languages},
        task_to_id={task: identifier(task) for task in ("transcribe", "translate")},
        no_timestamps_token_id=identifier("notimestamps"),
        prev_sot_token_id=identifier("startofprev"),
        begin_suppress_tokens=config.begin_suppress_tokens,
        suppress_tokens=[identifier(name) for name in special],
        max_initial_timestamp_index=50,
        alignment_heads=[[0, 0]],
        max_length=config.max_target_positions,
        return_timestamps=False,
    )
