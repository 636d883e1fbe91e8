"""Conversion of a Whisper folder to CTranslate2's format, with the files that faster-whisper needs."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from raywce.errors import Problems, fail
from raywce.storage.files import read_text

QUANTIZATIONS = ("float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16", "int8_bfloat16")
_WINDOW_S = 30  # faster-whisper pads each piece of audio to this, whatever the model's window
_DO = "Leave it out: transformers can use the model"
_FILES = ["tokenizer.json", "preprocessor_config.json"]


def check_convertible(checkpoint: str, quantization: str) -> None:
    """Check that the checkpoint at a path or URI can be converted here.

    Raises:
        InputError: with every reason why it can't be converted.
    """
    problems = Problems()
    if find_spec("ctranslate2") is None:
        problems.add("--ctranslate2", "ctranslate2 must be installed", do="Run pip install 'raywce[ctranslate2]'")
    if quantization not in QUANTIZATIONS:
        problems.add("--quantization", f"must be one of {', '.join(QUANTIZATIONS)}", quantization)
    window = json.loads(read_text(f"{checkpoint}/preprocessor_config.json"))["chunk_length"]
    if window != _WINDOW_S:
        rule = f"the model's window must be {_WINDOW_S} s, as faster-whisper supports no other"
        problems.add("--ctranslate2", rule, f"{window} s", _DO)
    problems.raise_any()


def convert(folder: Path, out: Path, quantization: str) -> None:
    """Convert `folder`, in transformers' format, to CTranslate2's format in `out`.

    Raises:
        InputError: CTranslate2 considers the vocabulary English-only, and would ignore the language.
    """
    from ctranslate2.converters import TransformersConverter
    from ctranslate2.models import Whisper

    TransformersConverter(str(folder), copy_files=_FILES).convert(str(out), quantization=quantization)
    if not Whisper(str(out)).is_multilingual:
        fail("--ctranslate2", "the model must have Whisper's multilingual vocabulary", "another", _DO)
