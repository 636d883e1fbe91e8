"""Texts decoded on the GPU are the CPU's, and don't depend on the batch's size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from raywce.data.context import EncoderContext
from raywce.data.features import LogMel
from raywce.data.store import open_split
from raywce.evaluation.decode import encoder_context, evaluate_utterances
from raywce.evaluation.settings import DecodeSettings
from raywce.model import load_model, load_tokenizer
from tests.evaluation.talking_whisper import write_talking_whisper
from tests.gpu.small import LANGUAGES

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_talking_whisper(tmp_path_factory.mktemp("talking")))


def texts(inputs: Path, talking: str, device: torch.device, **settings: object) -> dict[str, str]:
    dev = open_split(inputs, "dev", LANGUAGES, inputs / "cache")
    log_mel, of = LogMel.from_checkpoint(talking).to(device), DecodeSettings(**settings)  # type: ignore[arg-type]
    context: EncoderContext = encoder_context(log_mel, of)

    def features(indices: list[int]) -> torch.Tensor:
        frames = context.frames(max(float(dev.durations[index]) for index in indices))
        return log_mel.of([dev.audio(index) for index in indices], frames)

    rows = evaluate_utterances(load_model(talking).to(device), load_tokenizer(talking), dev, features, of)
    return {row.id: row.hypothesis for row in rows}


@pytest.mark.parametrize("context", ["full", "batch"])
def test_fp32_says_what_the_cpu_says(inputs: Path, talking: str, device: torch.device, context: str) -> None:
    expected = texts(inputs, talking, torch.device("cpu"), encoder_context=context)
    assert any(expected.values())
    own = texts(inputs, talking, device, encoder_context=context)
    assert own.keys() == expected.keys()
    # One may differ: a random Whisper is unsure, and some of its scores are as close as rounding.
    assert sum(own[name] == expected[name] for name in own) >= len(own) - (device.type == "cuda")


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.9), ("bf16", 0.75), ("fp16", 0.75)])
def test_the_batch_size_changes_hardly_a_text(
    inputs: Path, talking: str, device: torch.device, precision: str, least: float
) -> None:
    """Scores are exact, but the states before them are rounded in half precision; a random Whisper is unsure."""
    one, other = (texts(inputs, talking, device, precision=precision, batch_size=size) for size in (1, 6))
    assert sum(one[name] == other[name] for name in one) >= least * len(one)
