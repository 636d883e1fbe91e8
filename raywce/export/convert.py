"""CTranslate2's form of a Whisper folder, with all that faster-whisper opens it with."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pyarrow import fs

from raywce.errors import Problems, fail

QUANTIZATIONS = ("float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16", "int8_bfloat16")
_WINDOW_S = 30  # faster-whisper pads each piece of audio to that, whatever the model takes
_DO = "Leave it out: transformers takes the model as it is"
_FILES = ["tokenizer.json", "preprocessor_config.json"]


def check_convertible(checkpoint: str, quantization: str) -> None:
    """See that the checkpoint at a path or URI can be converted here.

    Raises:
        InputError: with every reason why it can't.
    """
    problems = Problems()
    if find_spec("ctranslate2") is None:
        problems.add("--ctranslate2", "ctranslate2 must be installed", do="Run pip install 'raywce[ctranslate2]'")
    if quantization not in QUANTIZATIONS:
        problems.add("--quantization", f"must be one of {', '.join(QUANTIZATIONS)}", quantization)
    window = _read(checkpoint, "preprocessor_config.json")["chunk_length"]
    if window != _WINDOW_S:
        rule = f"the model's window must be {_WINDOW_S} s, as faster-whisper takes no other"
        problems.add("--ctranslate2", rule, f"{window} s", _DO)
    problems.raise_any()


def convert(folder: Path, out: Path, quantization: str) -> None:
    """Write `folder`, in transformers' form, in CTranslate2's into `out`.

    Raises:
        InputError: CTranslate2 takes its vocabulary for one of English only, and would leave out the language.
    """
    from ctranslate2.converters import TransformersConverter
    from ctranslate2.models import Whisper

    TransformersConverter(str(folder), copy_files=_FILES).convert(str(out), quantization=quantization)
    if not Whisper(str(out)).is_multilingual:
        fail("--ctranslate2", "the model must have Whisper's multilingual vocabulary", "another", _DO)


def _read(checkpoint: str, name: str) -> dict[str, Any]:
    filesystem, path = fs.FileSystem.from_uri(f"{checkpoint}/{name}")
    with filesystem.open_input_stream(path) as stream:
        content: dict[str, Any] = json.loads(bytes(stream.read()))
    return content
