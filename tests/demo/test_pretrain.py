"""The script that makes the micro Whisper, for a few steps."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, WhisperForConditionalGeneration

pytest.importorskip("espeakng_loader", reason="espeak-ng speaks the demo corpus: pip install 'raywce[demo]'")


@pytest.mark.slow
def test_the_loss_falls_and_a_model_is_written(tmp_path: Path) -> None:
    options = ["--steps", "3", "--batch-size", "8", "--utterances", "20", "--dev", "2", "--log-every", "1"]
    command = [sys.executable, "-m", "raywce.demo.pretrain", str(tmp_path / "micro"), *options]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    losses = losses_in(lines)
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert re.match(r"step 3 \| \d+ s \| dev WER .*es [\d.]+", lines[-1])
    assert str(AutoConfig.from_pretrained(tmp_path / "micro").dtype) == "torch.float16"
    assert WhisperForConditionalGeneration.from_pretrained(tmp_path / "micro").config.d_model == 128

    more = ["--start", str(tmp_path / "micro"), "--augment", "--steps", "2"]
    command = [*command[:3], str(tmp_path / "more"), *options[2:], *more]
    after = losses_in(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())
    assert len(after) == 2
    assert after[0] < losses[0], "it goes on from the model named"


def losses_in(lines: list[str]) -> list[float]:
    return [float(line.split("loss es ")[1].split()[0]) for line in lines if "loss es" in line]
