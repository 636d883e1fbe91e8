"""Whisper from a checkpoint folder or Hub id, set up for fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

AUTOCAST_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}  # of each precision; None: no autocast


def load_model(
    checkpoint: str,
    revision: str | None = None,
    *,
    freeze_encoder: bool = False,
    gradient_checkpointing: bool = False,
) -> Any:
    """A `WhisperForConditionalGeneration` with float32 parameters, on the CPU, in training mode."""
    model = WhisperForConditionalGeneration.from_pretrained(
        checkpoint, revision=revision, dtype=torch.float32, attn_implementation="sdpa"
    )
    # transformers' own SpecAugment draws from numpy's global state: runs could not be repeated.
    model.config.apply_spec_augment = False
    # Whisper's sinusoids are constants; transformers 5 forgets that when it loads them, and would train them.
    model.model.encoder.embed_positions.requires_grad_(False)
    if freeze_encoder:
        model.model.encoder.requires_grad_(False)
    if gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model.train()


def load_tokenizer(checkpoint: str, revision: str | None = None) -> Any:
    """The checkpoint's fast tokenizer."""
    return AutoTokenizer.from_pretrained(checkpoint, revision=revision)


def save_model(model: Any, source: str, folder: Path, revision: str | None = None) -> None:
    """Write a complete transformers folder: weights, configuration, and `source`'s tokenizer and preprocessor.

    The generation configuration keeps every language of the original.
    """
    model.save_pretrained(folder)
    load_tokenizer(source, revision).save_pretrained(folder)
    WhisperFeatureExtractor.from_pretrained(source, revision=revision).save_pretrained(folder)


def decoder_inputs(model: Any, labels: torch.Tensor) -> torch.Tensor:
    """(B, L) decoder input ids: `<|startoftranscript|>`, then the labels but the last one."""
    inputs = labels.new_full(labels.shape, model.config.decoder_start_token_id)
    inputs[:, 1:] = labels[:, :-1]
    return inputs.masked_fill(inputs < 0, model.config.pad_token_id)
