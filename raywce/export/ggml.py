"""A Whisper folder in whisper.cpp's format, ggml: sizes, mel filters, vocabulary, then each tensor with its header."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from raywce.errors import Problems
from raywce.export.convert import MULTILINGUAL, check_window
from raywce.model import load_model
from raywce.storage.files import read_text
from raywce.whisper_folder import GENERATION

FILE = "ggml-model.bin"
_MAGIC = 0x67676D6C  # "ggml"
_F32, _F16 = 0, 1
_NAMES = (  # transformers' to OpenAI's, in this order
    ("model.", ""),
    (".layers.", ".blocks."),
    ("self_attn_layer_norm", "attn_ln"),
    ("encoder_attn_layer_norm", "cross_attn_ln"),
    ("final_layer_norm", "mlp_ln"),
    ("self_attn.", "attn."),
    ("encoder_attn.", "cross_attn."),
    ("q_proj", "query"),
    ("k_proj", "key"),
    ("v_proj", "value"),
    ("out_proj", "out"),
    ("fc1", "mlp.0"),
    ("fc2", "mlp.2"),
    ("encoder.layer_norm", "encoder.ln_post"),
    ("decoder.layer_norm", "decoder.ln"),
    ("embed_positions.weight", "positional_embedding"),
    ("embed_tokens", "token_embedding"),
)


def check_ggml(checkpoint: str) -> None:
    """Check that whisper.cpp can use the checkpoint at a path or URI.

    Raises:
        InputError: with every reason why it can't.
    """
    problems, do = Problems(), "Leave it out: transformers can use the model"
    check_window(checkpoint, "--ggml", "whisper.cpp", problems)
    tokens = json.loads(read_text(f"{checkpoint}/config.json"))["vocab_size"]
    if tokens < MULTILINGUAL:
        problems.add("--ggml", "the model must have Whisper's multilingual vocabulary", f"{tokens} tokens", do)
    languages = json.loads(read_text(f"{checkpoint}/{GENERATION}")).get("lang_to_id", {})
    if new := sorted(language for language in languages if language[2:-2] not in LANGUAGES):
        problems.add("--ggml", "the model must have Whisper's own language tokens alone", ", ".join(new), do)
    problems.raise_any()


def write_ggml(folder: Path, out: Path) -> None:
    """Write the model of a transformers folder as one file: matrices in half precision, the rest in single.

    Args:
        folder: that `check_ggml` has nothing against.
        out: file to write; its folder is made.
    """
    model = load_model(str(folder))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as stream:
        _write_sizes(stream, model.config)
        filters = WhisperFeatureExtractor.from_pretrained(folder).mel_filters.T.astype(np.float32)
        stream.write(struct.pack("<2i", *filters.shape) + np.ascontiguousarray(filters).tobytes())
        tokens = _text_tokens(folder)
        stream.write(struct.pack("<i", len(tokens)))
        for token in tokens:
            stream.write(struct.pack("<i", len(token)) + token)
        for name, tensor in model.model.named_parameters():
            _write_tensor(stream, _name(f"model.{name}"), tensor.detach())


def _write_sizes(stream: BinaryIO, config: WhisperConfig) -> None:
    stream.write(
        struct.pack(
            "<12i",
            _MAGIC,
            config.vocab_size,
            config.max_source_positions,
            config.d_model,
            config.encoder_attention_heads,
            config.encoder_layers,
            config.max_target_positions,
            config.d_model,
            config.decoder_attention_heads,
            config.decoder_layers,
            config.num_mel_bins,
            _F16,
        )
    )


def _text_tokens(folder: Path) -> list[bytes]:
    """Return the bytes of each token of text, by id; those behind them are known to whisper.cpp."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    letters = sorted(ByteLevel.alphabet(), key=ord)
    # The letters that stand for bytes: printable ones for themselves, others for the bytes that are left, in order.
    own = [letter for letter in letters if ord(letter) < 256]
    left = [byte for byte in range(256) if chr(byte) not in own]
    byte_of = {letter: ord(letter) for letter in own} | dict(zip(letters[len(own) :], left, strict=True))
    end = tokenizer.token_to_id("<|endoftext|>")
    tokens = sorted((index, token) for token, index in vocabulary.items() if index < end)
    return [bytes(byte_of[letter] for letter in token) for _, token in tokens]


def _name(name: str) -> str:
    for theirs, ours in _NAMES:
        name = name.replace(theirs, ours)
    return name


def _write_tensor(stream: BinaryIO, name: str, tensor: torch.Tensor) -> None:
    if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
        tensor = tensor[:, None]
    is_half = tensor.ndim > 1 and not name.endswith(("positional_embedding", "bias"))
    data = tensor.to(torch.float16 if is_half else torch.float32).contiguous().numpy()
    encoded = name.encode()
    stream.write(struct.pack("<3i", data.ndim, len(encoded), _F16 if is_half else _F32))
    stream.write(struct.pack(f"<{data.ndim}i", *reversed(data.shape)) + encoded)
    stream.write(data.tobytes())
