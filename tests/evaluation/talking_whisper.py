"""A random Whisper that says letters, and ends some of its sentences before the bound on new tokens."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import WhisperForConditionalGeneration

from tests.tiny_whisper import write_tiny_whisper


def write_talking_whisper(folder: Path) -> Path:
    """Write the checkpoint and return `folder`: what it says depends on audio, language and nothing else."""
    model = WhisperForConditionalGeneration.from_pretrained(write_tiny_whisper(folder, init_std=0.3))
    end = model.config.eos_token_id
    # No time stamps (most of the tiny vocabulary, and no text).
    model.generation_config.suppress_tokens = list(range(end + 1, model.config.vocab_size))
    embeddings = model.model.decoder.embed_tokens.weight.data
    direction = torch.randn(embeddings.shape[1], generator=torch.Generator().manual_seed(1))
    embeddings[end] = (
        2 * embeddings[:end].mean(0) + 0.6 * direction
    )  # it is zeros, as the padding token's: never likely
    model.save_pretrained(folder)
    return folder
