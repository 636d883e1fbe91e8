"""Conversion of a Whisper folder to CTranslate2's format, with the files that faster-whisper needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raywce.errors import InputError, Problems, fail
from raywce.experiment.environment import token_languages
from raywce.storage.files import exists, read_text
from raywce.whisper_folder import is_adapter

FASTER_WHISPER = "faster-whisper"
MULTILINGUAL = 51_865  # tokens at least: with less, CTranslate2 and whisper.cpp take a model for English only
QUANTIZATIONS = ("float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16", "int8_bfloat16")
_WINDOW_S = 30  # to which each piece of audio is padded, whatever the model's window
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
    check_window(checkpoint, "--ctranslate2", FASTER_WHISPER, problems)
    if lacking := [name for name in _FILES if not exists(f"{checkpoint}/{name}")]:
        problems.add("--ctranslate2", f"the model's folder must hold {' and '.join(_FILES)}", f"no {lacking[0]}", _DO)
    problems.raise_any()


def check_window(checkpoint: str, option: str, tool: str, problems: Problems) -> None:
    """Add a problem of `option` where the checkpoint's window is not the one that other tools pad audio to."""
    own = f"{checkpoint}/preprocessor_config.json"
    if exists(own):
        window = json.loads(read_text(own))["chunk_length"]
    else:  # as transformers' processors save it
        window = json.loads(read_text(f"{checkpoint}/processor_config.json"))["feature_extractor"]["chunk_length"]
    if window != _WINDOW_S:
        problems.add(
            option, f"the model's window must be {_WINDOW_S} s, as {tool} supports no other", f"{window} s", _DO
        )


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


def long_form(folder: Path, work: Path) -> Callable[[NDArray[np.float32], str], str]:
    """Return faster-whisper's decoding of long audio by the model in a transformers folder.

    Args:
        folder: of a model with Whisper's window and vocabulary.
        work: folder for the converted model.
    """
    from faster_whisper import WhisperModel, tokenizer

    # It takes no others than Whisper's own languages.
    tokenizer._LANGUAGE_CODES += tuple(sorted(token_languages(str(folder)) - {*tokenizer._LANGUAGE_CODES}))
    convert(folder, work / "ctranslate2", "float32")
    model = WhisperModel(str(work / "ctranslate2"), compute_type="float32")
    how = {"beam_size": 1, "temperature": 0.0, "vad_filter": False, "condition_on_previous_text": False}

    def transcribe(samples: NDArray[np.float32], language: str) -> str:
        segments, _ = model.transcribe(samples, language=language, **how)
        return "".join(segment.text for segment in segments).strip()

    return transcribe


def can_convert(folder: Path) -> bool:
    """Return whether faster-whisper is here, and can use the model of a transformers folder on this machine."""
    if find_spec("faster_whisper") is None or not folder.is_dir() or is_adapter(folder):
        return False
    sizes = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    try:
        check_convertible(str(folder), "float32")
    except InputError:
        return False
    return bool(sizes["vocab_size"] >= MULTILINGUAL)
