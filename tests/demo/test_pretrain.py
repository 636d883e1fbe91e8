"""The script that makes the micro Whisper, for a few steps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import typer
from transformers import AutoConfig, WhisperForConditionalGeneration
from typer.testing import CliRunner

from raywce.demo.pretrain import pretrain

pytest.importorskip("espeakng_loader", reason="espeak-ng speaks the demo corpus: pip install 'raywce[demo]'")

SMALL = ["--batch-size", "8", "--utterances", "20", "--dev", "2", "--log-every", "1"]


def lines_of(*options: str) -> list[str]:
    """What a pretraining prints."""
    app = typer.Typer()
    app.command()(pretrain)
    done = CliRunner().invoke(
        app, [*SMALL, "--threads", str(torch.get_num_threads()), *options], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_loss_falls_and_a_model_is_written(tmp_path: Path) -> None:
    lines = lines_of(str(tmp_path / "micro"), "--steps", "3")
    losses = losses_in(lines)
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert re.match(r"step 3 \| \d+ s \| dev WER .*es [\d.]+", lines[-1])
    assert str(AutoConfig.from_pretrained(tmp_path / "micro").dtype) == "torch.float16"
    assert WhisperForConditionalGeneration.from_pretrained(tmp_path / "micro").config.d_model == 128

    more = ["--start", str(tmp_path / "micro"), "--augment", "--steps", "2"]
    after = losses_in(lines_of(str(tmp_path / "more"), *more))
    assert len(after) == 2
    assert after[0] < losses[0], "it goes on from the model named"


def losses_in(lines: list[str]) -> list[float]:
    return [float(line.split("loss es ")[1].split()[0]) for line in lines if "loss es" in line]
