"""The micro Whisper before its training: Whisper's architecture and token order, with a three-second window."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizerFast,
)
from transformers.models.whisper.tokenization_whisper import LANGUAGES

WINDOW_SECONDS = 3
_POSITIONS_A_SECOND = 50  # of the encoder
_TEXT_TOKENS = 320  # 256 bytes and the commonest pairs: near to characters
_MAX_LABELS = 96
_TASKS = ("translate", "transcribe")
_SPECIAL = (*_TASKS, "startoflm", "startofprev", "nospeech", "notimestamps")  # Whisper's order, behind the languages


def write_untrained(folder: Path, texts: Iterable[str], languages: Sequence[str], seed: int = 0) -> None:
    """Write a transformers folder with random weights: configuration, tokenizer, feature extractor, generation config.

    Args:
        folder: where to write; made if needed.
        texts: what the tokenizer is trained on.
        languages: codes that the model can generate in.
        seed: of the weights; the global random state is left as it was.
    """
    tokenizer = _tokenizer(texts)
    config = _config(tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = WhisperForConditionalGeneration(config)
    model.generation_config = _generation_config(tokenizer, config, languages)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=config.num_mel_bins, chunk_length=WINDOW_SECONDS).save_pretrained(folder)


def _tokenizer(texts: Iterable[str]) -> WhisperTokenizerFast:
    """Return byte-level BPE, then the special tokens in Whisper's order; no time stamps.

    All of Whisper's languages have their token, as its tokenizer finds a language by its place among them.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        (f" {text}" for text in texts),
        trainers.BpeTrainer(vocab_size=_TEXT_TOKENS, initial_alphabet=alphabet, show_progress=False),
    )
    model = json.loads(bpe.to_str())["model"]
    tokenizer = WhisperTokenizerFast(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        pad_token="<|endoftext|>",
        model_max_length=_MAX_LABELS,
    )
    names = ["startoftranscript", *LANGUAGES, *_SPECIAL]
    tokenizer.add_tokens([AddedToken(f"<|{name}|>", normalized=False, special=True) for name in names])
    return tokenizer


def _config(tokenizer: WhisperTokenizerFast) -> WhisperConfig:
    end = _identifier(tokenizer, "endoftext")
    return WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=128,
        encoder_layers=3,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=512,
        decoder_ffn_dim=512,
        num_mel_bins=80,
        max_source_positions=WINDOW_SECONDS * _POSITIONS_A_SECOND,
        max_target_positions=_MAX_LABELS,
        dropout=0.05,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=_identifier(tokenizer, "startoftranscript"),
        begin_suppress_tokens=[end],
    )


def _generation_config(
    tokenizer: WhisperTokenizerFast, config: WhisperConfig, languages: Sequence[str]
) -> GenerationConfig:
    never = ("startoftranscript", *_TASKS, "startoflm", "startofprev", "nospeech")
    return GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        is_multilingual=True,
        lang_to_id={f"<|{code}|>": _identifier(tokenizer, code) for code in languages},
        task_to_id={task: _identifier(tokenizer, task) for task in _TASKS},
        no_timestamps_token_id=_identifier(tokenizer, "notimestamps"),
        prev_sot_token_id=_identifier(tokenizer, "startofprev"),
        begin_suppress_tokens=config.begin_suppress_tokens,
        suppress_tokens=[_identifier(tokenizer, name) for name in never],
        max_length=config.max_target_positions,
        return_timestamps=False,
    )


def _identifier(tokenizer: WhisperTokenizerFast, name: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(f"<|{name}|>"))
