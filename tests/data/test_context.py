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
    assert {context().frames(seconds, step) for seconds in (0.1, 30.0) for step in (None, 0)} == {WINDOW}
    assert context().longest == 30.0


@pytest.mark.parametrize(
    ("seconds", "bucket", "frames"),
    [
        (0.001, 1.0, 100),
        (4.0, 1.0, 400),
        (4.0001, 1.0, 500),
        (4.0001, 0.5, 450),
        (4.01, 0.01, 402),  # two frames are one position of the encoder
        (29.5, 1.0, 3000),
        (29.0, 7.0, 3000),  # not beyond the window
        (float(np.float32(5.1)), 0.1, 510),  # durations are float32
    ],
)
def test_batch_is_its_longest_utterance_rounded_up(seconds: float, bucket: float, frames: int) -> None:
    assert context(length="batch", bucket=bucket).frames(seconds) == frames


def test_seconds_are_the_same_for_every_batch() -> None:
    fixed = context(length=6.5)
    assert {fixed.frames(seconds, step) for seconds in (0.1, 6.5) for step in range(9)} == {650}
    assert fixed.longest == 6.5
    assert context(length=99.0).longest == 30.0
    assert context(length=99.0).frames(30.0) == WINDOW


def test_the_whole_audio_is_always_seen() -> None:
    mixed = context(length="batch", bucket=0.5, jitter=2.0, full_share=0.2)
    for step, seconds in enumerate(np.random.default_rng(0).uniform(0.1, 30.0, 500)):
        frames = mixed.frames(float(seconds), step)
        assert frames * HOP >= round(seconds * 16_000)
        assert frames % 2 == 0
        assert frames <= WINDOW


def test_a_share_of_the_steps_is_full_and_follows_from_seed_and_step() -> None:
    mixed = context(length="batch", full_share=0.25)
    frames = [mixed.frames(5.0, step) for step in range(2000)]
    assert set(frames) == {500, WINDOW}
    assert frames.count(WINDOW) / 2000 == pytest.approx(0.25, abs=0.03)
    assert [mixed.frames(5.0, step) for step in range(1000, 2000)] == frames[1000:]
    assert [context(length="batch", full_share=0.25, seed=1).frames(5.0, step) for step in range(2000)] != frames
    assert {mixed.frames(5.0) for _ in range(9)} == {500}, "evaluations are not mixed"


def test_the_margin_is_silence_behind_the_longest_utterance_of_a_batch() -> None:
    assert context(length="batch", margin=1.0, bucket=0.5).frames(5.1) == 650
    assert context(length="batch", margin=4.0).frames(28.0) == WINDOW
    assert context(length=5.0, margin=1.0).frames(5.0) == 500


@pytest.mark.parametrize("length", ["batch", 5.0])
def test_jitter_lengthens_by_up_to_so_much(length: str | float) -> None:
    drawn = [context(length=length, bucket=0.1, jitter=2.0).frames(5.0, step) for step in range(500)]
    assert 500 <= min(drawn) < 520
    assert 680 < max(drawn) <= 700
    assert len(set(drawn)) > 15


def test_of_a_checkpoints_features() -> None:
    log_mel = LogMel(WhisperFeatureExtractor(chunk_length=3))
    assert EncoderContext.of(log_mel, "batch", full_share=1.0).frames(1.0, 0) == 300
    assert EncoderContext.of(log_mel, "batch", margin=0.5, bucket=0.1).frames(1.0, 0) == 150
    assert log_mel(torch.zeros(1, 16_000), 100).shape == (1, 80, 100)
