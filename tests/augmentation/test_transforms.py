"""Each transform does what its parameter says, to the utterances it chose, within their true lengths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve
from torch import Tensor

from raywce.augmentation.augmenter import Augmenter
from raywce.augmentation.transforms import (
    SNR_SPREAD,
    BackgroundNoise,
    Gain,
    ImpulseResponse,
    PitchShift,
    TimeStretch,
    Transform,
    WhiteNoise,
)
from tests.augmentation import recordings
from tests.augmentation.recordings import keys

LENGTHS = [16_000, 9_000, 4_000, 12_345]
RNG = np.random.default_rng(0)
NOISES = recordings.of(*(RNG.standard_normal(size).astype(np.float32) * 0.1 for size in (3_000, 50_000)))
ROOM = recordings.of(np.concatenate([np.zeros(40), [1.0], 0.3 * RNG.standard_normal(800)]).astype(np.float32))
ROOMS = recordings.of(*(RNG.standard_normal(size).astype(np.float32) for size in range(300, 700, 50)))


def batch(lengths: list[int] = LENGTHS) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    rows = [0.1 * torch.randn(length, generator=generator) for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def through(transform: Transform, waveforms: Tensor, lengths: list[int], **key: int) -> tuple[Tensor, list[int]]:
    return Augmenter([transform], None, 0).waveforms(waveforms, lengths, keys(len(lengths), **key))


def rms(waveform: Tensor) -> float:
    return float(waveform.square().mean().sqrt())


def decibels(ratio: float) -> float:
    return 20 * math.log10(ratio)


ALL: dict[str, Any] = {
    "time_stretch": lambda p, s: TimeStretch(p, s, rate=0.2, max_samples=480_000),
    "pitch_shift": lambda p, s: PitchShift(p, s, semitones=4.0),
    "impulse_response": lambda p, s: ImpulseResponse(p, s, wet=0.5, recordings=ROOMS),
    "gain": lambda p, s: Gain(p, s, decibels=6.0),
    "background_noise": lambda p, s: BackgroundNoise(p, s, snr=10.0, recordings=NOISES),
    "white_noise": lambda p, s: WhiteNoise(p, s, amplitude=0.01, snr=None),
    "white_noise by SNR": lambda p, s: WhiteNoise(p, s, amplitude=None, snr=10.0),
}
EACH = pytest.mark.parametrize("make", ALL.values(), ids=ALL)


@EACH
def test_probability_is_the_share_that_is_changed(make: Any) -> None:
    lengths = [400] * 600
    waveforms = batch(lengths)
    out, new = through(make(0.3, 1.0), waveforms, lengths)
    changed = [not torch.equal(a[:400], b) or size != 400 for a, b, size in zip(out, waveforms, new, strict=True)]
    assert sum(changed) / 600 == pytest.approx(0.3, abs=0.06)
    out, _ = through(make(0.0, 1.0), waveforms, lengths)
    assert torch.equal(out, waveforms)


@EACH
def test_padding_stays_silent(make: Any) -> None:
    out, lengths = through(make(1.0, 1.0), batch(), LENGTHS)
    assert out.shape[1] == max(lengths)
    for row, length in zip(out, lengths, strict=True):
        assert row[:length].any()
        assert not row[length:].any()


@EACH
def test_an_utterance_is_changed_alike_in_any_batch(make: Any) -> None:
    waveforms, transform = batch(), make(1.0, 1.0)
    whole, lengths = through(transform, waveforms, LENGTHS)
    again, _ = through(transform, waveforms, LENGTHS)
    assert torch.equal(whole, again)
    for row, key in enumerate(keys(len(LENGTHS))):
        alone = waveforms[row : row + 1, : LENGTHS[row]]
        out, length = Augmenter([transform], None, 0).waveforms(alone, [LENGTHS[row]], [key])
        assert length == [lengths[row]]
        torch.testing.assert_close(out[0], whole[row, : lengths[row]], atol=1e-5, rtol=0)


@EACH
@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"copy": 2}])
def test_another_draw_is_changed_otherwise(make: Any, change: dict[str, int]) -> None:
    one, _ = through(make(1.0, 1.0), batch(), LENGTHS)
    other, _ = through(make(1.0, 1.0), batch(), LENGTHS, **change)
    assert one.shape != other.shape or not torch.equal(one, other)


@EACH
@pytest.mark.parametrize("waveform", [torch.zeros(5000), torch.ones(1), torch.ones(5000), 1e4 * batch([5000])[0]])
def test_odd_input_gives_finite_output(make: Any, waveform: Tensor) -> None:
    for key in keys(8):
        out, _ = Augmenter([make(1.0, 1.0)], None, 0).waveforms(waveform[None], [len(waveform)], [key])
        assert out.isfinite().all()


def test_a_stretch_changes_the_length_by_a_rate_within_its_bounds() -> None:
    lengths = [8_000] * 200
    _, new = through(TimeStretch(1.0, 1.0, rate=0.1, max_samples=480_000), batch(lengths), lengths)
    rates = [8_000 / length for length in new]
    assert 0.9 - 1e-4 < min(rates) < 0.91
    assert 1.09 < max(rates) < 1.1 + 1e-3
    assert np.mean(rates) == pytest.approx(1.0, abs=0.02)
    _, half = through(TimeStretch(1.0, 0.5, rate=0.1, max_samples=480_000), batch(lengths), lengths)
    assert [8_000 / length - 1 for length in half] == pytest.approx([(rate - 1) / 2 for rate in rates], abs=1e-3)


def test_nothing_is_stretched_past_the_window() -> None:
    lengths = [9_900] * 50
    waveforms = batch(lengths)
    out, new = through(TimeStretch(1.0, 1.0, rate=0.2, max_samples=10_000), waveforms, lengths)
    assert max(new) == 10_000
    assert out.shape[1] == 10_000
    assert min(new) < 9_000, "the others are"


def test_gain_is_exact() -> None:
    waveforms = batch([800] * 300)
    out, _ = through(Gain(1.0, 1.0, decibels=6.0), waveforms, [800] * 300)
    drawn = [decibels(rms(b) / rms(a)) for a, b in zip(waveforms, out, strict=True)]
    for before, after, gain in zip(waveforms, out, drawn, strict=True):
        torch.testing.assert_close(after, before * 10 ** (gain / 20), atol=1e-6, rtol=1e-5)
    assert -6.001 < min(drawn) < -5.8
    assert 5.8 < max(drawn) < 6.001
    assert np.mean(drawn) == pytest.approx(0.0, abs=0.6)


def test_white_noise_has_the_amplitude_of_the_paper() -> None:
    lengths = [16_000] * 100
    silence = torch.zeros(100, 16_000)
    out, _ = through(WhiteNoise(1.0, 1.0, amplitude=0.01, snr=None), silence, lengths)
    levels = [rms(row) for row in out]
    assert decibels(min(levels) / 0.005) == pytest.approx(0, abs=0.5)
    assert decibels(max(levels) / 0.015) == pytest.approx(0, abs=0.5)
    assert np.mean(levels) == pytest.approx(0.01, rel=0.06)
    row = out[0] / rms(out[0])
    assert abs(float((row**4).mean()) - 3.0) < 0.3, "Gaussian"


def test_strength_scales_the_noise() -> None:
    silence = torch.zeros(3, 4_000)
    one, _ = through(WhiteNoise(1.0, 1.0, amplitude=0.01, snr=None), silence, [4_000] * 3)
    half, _ = through(WhiteNoise(1.0, 0.5, amplitude=0.01, snr=None), silence, [4_000] * 3)
    torch.testing.assert_close(half, one / 2)


@pytest.mark.parametrize(
    ("strong", "weak"),
    [
        (lambda s: TimeStretch(1.0, s, rate=0.2, max_samples=480_000), TimeStretch(1.0, 1.0, 0.1, 480_000)),
        (lambda s: PitchShift(1.0, s, semitones=4.0), PitchShift(1.0, 1.0, semitones=2.0)),
        (lambda s: Gain(1.0, s, decibels=6.0), Gain(1.0, 1.0, decibels=3.0)),
        (lambda s: ImpulseResponse(1.0, s, wet=0.8, recordings=ROOM), ImpulseResponse(1.0, 1.0, 0.4, ROOM)),
    ],
    ids=["time_stretch", "pitch_shift", "gain", "impulse_response"],
)
def test_half_the_strength_is_half_of_what_is_drawn(strong: Any, weak: Transform) -> None:
    waveforms = batch()
    expected, lengths = through(weak, waveforms, LENGTHS)
    found, same = through(strong(0.5), waveforms, LENGTHS)
    assert same == lengths
    torch.testing.assert_close(found, expected)
    assert not torch.equal(through(strong(1.0), waveforms, LENGTHS)[0], expected)


@pytest.mark.parametrize("kind", ["white", "background"])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_the_ratio_of_noise_is_over_the_true_length(kind: str, strength: float) -> None:
    waveforms = batch()
    if kind == "white":
        transform: Transform = WhiteNoise(1.0, strength, amplitude=None, snr=10.0)
    else:
        transform = BackgroundNoise(1.0, strength, snr=10.0, recordings=NOISES)
    expected = 10.0 - decibels(strength)
    ratios = []
    for epoch in range(30):
        out, _ = through(transform, waveforms, LENGTHS, epoch=epoch)
        for before, after, length in zip(waveforms, out, LENGTHS, strict=True):
            ratios.append(decibels(rms(before[:length]) / rms((after - before)[:length])))
    assert min(ratios) == pytest.approx(expected - SNR_SPREAD, abs=0.5)
    assert max(ratios) == pytest.approx(expected + SNR_SPREAD, abs=0.5)


def test_background_noise_is_a_piece_of_the_recordings_and_a_short_one_begins_again() -> None:
    ramp = np.linspace(-1, 1, 1_000, dtype=np.float32)
    transform = BackgroundNoise(1.0, 1.0, snr=0.0, recordings=recordings.of(ramp))
    before = 0.1 * torch.ones(1, 3_000)
    out, _ = through(transform, before, [3_000])
    noise = (out - before)[0]
    torch.testing.assert_close(noise[:1_000], noise[1_000:2_000], atol=1e-6, rtol=0)
    assert np.corrcoef(noise[:1_000], ramp)[0, 1] > 0.9999


def test_an_impulse_response_is_a_convolution_with_the_direct_sound_at_its_place() -> None:
    waveforms = batch()
    response = np.asarray(ROOM[0]) / np.sqrt(np.sum(np.square(ROOM[0])))
    dry, _ = through(ImpulseResponse(1.0, 1.0, wet=0.0, recordings=ROOM), waveforms, LENGTHS)
    torch.testing.assert_close(dry, waveforms)
    out, _ = through(ImpulseResponse(1.0, 1.0, wet=0.6, recordings=ROOM), waveforms, LENGTHS)
    for before, after, length in zip(waveforms, out, LENGTHS, strict=True):
        convolved = fftconvolve(before[:length], response)[40 : 40 + length]
        expected = 0.4 * before[:length] + 0.6 * torch.from_numpy(convolved).float()
        torch.testing.assert_close(after[:length], expected, atol=1e-5, rtol=0)
