"""Pitches and lengths of tones, whose truth is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from raywce.augmentation.vocoder import HOP, shift_pitch, stretch

RATE = 16_000


def tone(frequency: float = 440.0, seconds: float = 2.0, amplitude: float = 0.5) -> Tensor:
    return amplitude * torch.sin(2 * math.pi * frequency * torch.arange(int(seconds * RATE)) / RATE)


def pitch(waveform: Tensor) -> float:
    """The strongest frequency, away from the ends."""
    inner = waveform[2000:-2000]
    spectrum = torch.fft.rfft(inner * torch.hann_window(len(inner)), 1 << 19).abs()
    return float(spectrum.argmax()) * RATE / (1 << 19)


@pytest.mark.parametrize("semitones", [-4.0, -3.3, -1.0, -0.2, 0.0, 0.05, 0.5, 1.7, 4.0])
def test_pitch_moves_by_semitones_and_the_length_stays(semitones: float) -> None:
    waveform = tone()[None]
    (out,) = shift_pitch(waveform, [waveform.shape[1]], [semitones])
    assert len(out) == waveform.shape[1]
    assert pitch(out) == pytest.approx(440 * 2 ** (semitones / 12), rel=0.01)
    assert out[2000:-2000].square().mean().sqrt() == pytest.approx(0.5 / math.sqrt(2), rel=0.15)


@pytest.mark.parametrize("rate", [0.8, 0.9, 0.99, 1.0, 1.1, 1.25])
def test_length_moves_by_rate_and_the_pitch_stays(rate: float) -> None:
    waveform = tone()[None]
    wanted = round(waveform.shape[1] / rate)
    (out,) = stretch(waveform, [waveform.shape[1]], [wanted])
    assert len(out) == wanted
    sounding = out.abs() > 0.05
    assert abs(int(sounding.nonzero()[-1]) - wanted) <= HOP, "the sound fills the new length"
    assert pitch(out) == pytest.approx(440, rel=0.01)


def test_words_come_where_they_belong() -> None:
    """A tone in the middle third of silence is in the middle third afterwards."""
    waveform = torch.zeros(48_000)
    waveform[16_000:32_000] = tone(seconds=1.0)
    (out,) = stretch(waveform[None], [48_000], [60_000])
    level = out.unfold(0, 1000, 1000).square().mean(1)
    assert level[22:38].min() > 100 * max(level[:18].max(), level[42:].max())


def test_a_batch_is_its_utterances() -> None:
    short, long = tone(300, 0.7), tone(500, 2.0)
    batch = torch.nn.utils.rnn.pad_sequence([short, long], batch_first=True)
    lengths, new = [len(short), len(long)], [10_000, 40_000]
    both = stretch(batch, lengths, new)
    for row, alone, length, wanted in zip(both, (short, long), lengths, new, strict=True):
        (expected,) = stretch(alone[None], [length], [wanted])
        torch.testing.assert_close(row[:wanted], expected, atol=1e-5, rtol=0)
        assert not row[wanted:].any()
    shifted = shift_pitch(batch, lengths, [3.0, -2.0])
    torch.testing.assert_close(
        shifted[0, : len(short)], shift_pitch(short[None], [len(short)], [3.0])[0], atol=1e-5, rtol=0
    )
    assert not shifted[0, len(short) :].any()


def test_half_a_minute_does_not_lose_its_pitch() -> None:
    """Phases add up over thousands of frames."""
    waveform = tone(seconds=25.0)[None]
    (out,) = stretch(waveform, [waveform.shape[1]], [30 * RATE])
    assert pitch(out[-3 * RATE :]) == pytest.approx(440, rel=0.001)


@pytest.mark.parametrize(
    "waveform",
    [torch.zeros(8000), torch.ones(1), torch.zeros(1), tone().clamp(-0.01, 0.01) * 100, tone() * 1e4, torch.ones(300)],
    ids=["silence", "one sample", "one silent sample", "clipped", "very loud", "shorter than a window"],
)
def test_odd_input_gives_finite_output(waveform: Tensor) -> None:
    length = len(waveform)
    for new in (1, length, length + 300):
        assert stretch(waveform[None], [length], [new]).isfinite().all()
    for semitones in (-4.0, 0.0, 4.0):
        out = shift_pitch(waveform[None], [length], [semitones])
        assert out.shape == (1, length)
        assert out.isfinite().all()
