from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from raywce.data.context import EncoderContext
from raywce.data.features import LogMel

WINDOW, HOP = 3000, 160


def context(**settings: object) -> EncoderContext:
    return EncoderContext(WINDOW, HOP, **settings)


def test_full_is_the_window_whatever_the_batch() -> None:
    assert {context().frames(seconds) for seconds in (0.1, 30.0)} == {WINDOW}
    assert context().longest == 30.0


@pytest.mark.parametrize(
    ("seconds", "frames"),
    [
        (0.001, 20),
        (4.0, 400),
        (4.0001, 420),
        (29.9, 3000),
        (float(np.float32(5.2)), 520),  # durations are float32
    ],
)
def test_batch_is_its_longest_utterance_rounded_up(seconds: float, frames: int) -> None:
    assert context(length="batch").frames(seconds) == frames


def test_seconds_are_the_same_for_every_batch() -> None:
    fixed = context(length=6.5)
    assert {fixed.frames(seconds) for seconds in (0.1, 6.5)} == {650}
    assert fixed.longest == 6.5
    assert context(length=6.511).frames(1.0) == 652  # two frames are one position of the encoder
    assert context(length=99.0).longest == 30.0
    assert context(length=99.0).frames(30.0) == WINDOW


def test_the_whole_audio_is_always_seen() -> None:
    for seconds in np.random.default_rng(0).uniform(0.1, 30.0, 500):
        frames = context(length="batch").frames(float(seconds))
        assert frames * HOP >= round(seconds * 16_000)
        assert frames % 2 == 0
        assert frames <= WINDOW


def test_the_margin_is_silence_behind_the_longest_utterance_of_a_batch() -> None:
    assert context(length="batch", margin=1.0).frames(5.1) == 620
    assert context(length="batch", margin=4.0).frames(28.0) == WINDOW
    assert context(length=5.0, margin=1.0).frames(5.0) == 500


def test_of_a_checkpoints_features() -> None:
    log_mel = LogMel(WhisperFeatureExtractor(chunk_length=3))
    assert EncoderContext.of(log_mel).frames(1.0) == 300
    assert EncoderContext.of(log_mel, "batch", margin=0.6).frames(1.0) == 160
    assert log_mel(torch.zeros(1, 16_000), 100).shape == (1, 80, 100)
