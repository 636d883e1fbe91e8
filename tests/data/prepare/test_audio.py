from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from raywce.data.prepare.audio import BadAudioError, decode, encode_flac
from raywce.data.prepare.summary import Reason
from tests.data.conftest import tone


def encoded(samples: np.ndarray, rate: int = 16_000, kind: str = "FLAC") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind)
    return buffer.getvalue()


def reason_of(data: bytes, max_seconds: float = 30.0, offset: float = 0.0, seconds: float | None = None) -> Reason:
    with pytest.raises(BadAudioError) as error:
        decode(data, max_seconds, offset, seconds)
    return error.value.reason


@pytest.mark.parametrize("kind", ["FLAC", "WAV"])
def test_16_khz_16_bit_comes_out_bit_for_bit(kind: str) -> None:
    samples = tone(0.5)[:, 0]
    samples[:2] = [-32768, 32767]
    again, rate = soundfile.read(
        io.BytesIO(encode_flac(decode(encoded(samples, kind=kind), 30).samples)), dtype="int16"
    )
    assert rate == 16_000
    assert np.array_equal(again, samples)


def test_44_khz_stereo_is_mixed_down_and_resampled() -> None:
    time = np.arange(44_100) / 44_100
    left = 0.5 * np.sin(2 * np.pi * 1000 * time)
    samples = decode(encoded(np.stack([left, np.zeros_like(left)], axis=1), 44_100), 30).samples
    assert samples.shape == (16_000,)
    expected = 0.25 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    assert np.abs(samples - expected)[200:-200].max() < 1e-3


@pytest.mark.parametrize("kind", ["FLAC", "WAV", "MP3", "OGG"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_cut_file_is_told_from_a_whole_one(kind: str, share: float) -> None:
    data = encoded(tone(4.0), kind=kind)
    assert decode(data, 30).samples.shape[0] == pytest.approx(64_000, abs=1600)
    assert reason_of(data[: int(len(data) * share)]) is Reason.TRUNCATED_AUDIO


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY_FILE),
        (b"not audio at all" * 50, Reason.UNDECODABLE_AUDIO),
        (encoded(tone(0.0), kind="WAV"), Reason.NO_SAMPLES),
        (encoded(tone(30.1)), Reason.TOO_LONG),
    ],
)
def test_reasons(data: bytes, reason: Reason) -> None:
    assert reason_of(data) is reason


def test_the_limit_itself_is_kept() -> None:
    assert decode(encoded(tone(30.0)), 30).samples.shape == (480_000,)


def test_a_segment_of_a_long_file() -> None:
    samples = tone(40.0)
    cut = decode(encoded(samples), 30, 35.0, 2.5).samples
    assert np.array_equal(cut, samples[560_000:600_000, 0].astype(np.float32) / 32768)


def test_a_segment_beyond_the_end_is_truncated() -> None:
    assert reason_of(encoded(tone(2.0)), 30, 1.0, 3.0) is Reason.TRUNCATED_AUDIO
    assert reason_of(encoded(tone(2.0)), 30, 5.0, 1.0) is Reason.TRUNCATED_AUDIO


def test_a_rounded_length_takes_all_there_is() -> None:
    assert decode(encoded(tone(2.0)), 30, 0.0, 1.95).samples.shape == (32_000,)


def test_ogg_and_wav_of_a_file_are_whole(tmp_path: Path) -> None:
    for name in ("a.ogg", "a.wav"):
        soundfile.write(tmp_path / name, tone(1.0), 16_000)
        assert decode((tmp_path / name).read_bytes(), 30).samples.shape == (16_000,)


def wav(samples: np.ndarray, subtype: str = "PCM_16", endian: str = "LITTLE") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="WAV", subtype=subtype, endian=endian)
    return buffer.getvalue()


def with_sizes(data: bytes, riff: int, samples: int) -> bytes:
    """A WAV with other sizes in its header."""
    order = "<I" if data[:4] == b"RIFF" else ">I"
    at = data.index(b"data") + 4
    return data[:4] + struct.pack(order, riff) + data[8:at] + struct.pack(order, samples) + data[at + 4 :]


@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
@pytest.mark.parametrize("riff", ["the same", "true", "zero"])
@pytest.mark.parametrize(
    "size", [0, 0x7FFFF000, 0x7FFFEFFC, 0x7FFFFFDB, 0x7FFFFFFF, 0x80000000, 0xFFFFFFD3, 0xFFFFFFFF], ids=hex
)
def test_a_wav_of_a_streaming_writer_is_read_to_the_end(size: int, riff: str, endian: str) -> None:
    samples = tone(0.5)
    data = wav(samples, endian=endian)
    stated = {"the same": min(size + 36, 0xFFFFFFFF), "true": len(data) - 8, "zero": 0}[riff]
    clip = decode(with_sizes(data, stated, size), 30)
    assert np.array_equal(clip.samples, samples[:, 0].astype(np.float32) / 32768)


@pytest.mark.parametrize(("seconds", "limit", "kept"), [(0.5, 30, 0.5), (2.0, 2.0, 2.0), (2.5, 2.0, None)])
def test_a_flac_of_a_streaming_writer_is_read_to_the_end(seconds: float, limit: float, kept: float | None) -> None:
    samples, buffer = tone(seconds), io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="FLAC", subtype="PCM_16")
    data = bytearray(buffer.getvalue())
    data[21] &= 0xF0  # of STREAMINFO: 36 bits with the number of samples, which such a writer leaves at 0
    data[22:26] = bytes(4)
    if kept is None:
        assert reason_of(bytes(data), limit) is Reason.TOO_LONG
    else:
        assert np.array_equal(decode(bytes(data), limit).samples, samples[:, 0].astype(np.float32) / 32768)


def test_a_wav_without_samples_has_none_whatever_follows() -> None:
    comment = b"LIST" + struct.pack("<I", 12) + b"INFOISFT\0\0\0\0"
    data = wav(np.zeros(0)) + comment
    assert reason_of(with_sizes(data, len(data) - 8, 0)) is Reason.NO_SAMPLES


def test_a_stated_size_that_no_streaming_writer_leaves_is_a_cut_file() -> None:
    assert reason_of(with_sizes(wav(tone(0.5)), 0, 0x60000000)) is Reason.TRUNCATED_AUDIO


def speech_like(peak: float = 0.3) -> np.ndarray:
    """Half a second of a swelling tone, float64, shape (8000,)."""
    time = np.arange(8000) / 8000
    samples = np.sin(2 * np.pi * 110 * time) * np.sin(np.pi * time)
    return samples * peak / np.abs(samples).max()


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("bits", [16, 24, 32])
def test_float_samples_in_the_scale_of_integers_are_rescaled(bits: int, subtype: str) -> None:
    clip = decode(wav(speech_like() * 2 ** (bits - 1), subtype), 30)
    assert clip.rescaled
    assert np.abs(clip.samples - speech_like()).max() < 1e-6


@pytest.mark.parametrize("peak", [1.01, 3.0, 100.0, 40_000.0])
def test_float_samples_beyond_full_scale_keep_their_form(peak: float) -> None:
    clip = decode(wav(speech_like(peak), "FLOAT"), 30)
    assert clip.rescaled
    assert np.abs(clip.samples - speech_like(1.0)).max() < 1e-5
    assert clip.flaw is None


def test_float_samples_within_full_scale_stay_as_they_are() -> None:
    samples = speech_like(1.0).astype(np.float32)
    clip = decode(wav(samples, "FLOAT"), 30)
    assert not clip.rescaled
    assert np.array_equal(clip.samples, samples)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_rejects_the_clip(value: float) -> None:
    samples = speech_like()
    samples[4000] = value
    assert reason_of(wav(samples, "FLOAT")) is Reason.NOT_FINITE


def test_a_spike_that_leaves_nothing_of_the_speech_rejects_the_clip() -> None:
    samples = speech_like()
    samples[4000] = 1e7
    assert reason_of(wav(samples, "FLOAT")) is Reason.UNKNOWN_SCALE


def flaw_of(data: bytes) -> Reason | None:
    flaw = decode(data, 30).flaw
    return flaw[0] if flaw else None


@pytest.mark.parametrize(
    "samples",
    [np.zeros(8000), np.full(8000, 0.9), np.array([0.5])],
    ids=["zeros", "a constant", "one sample"],
)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "ALAW", "ULAW", "FLOAT"])
def test_a_silent_clip_is_found(samples: np.ndarray, subtype: str) -> None:
    assert flaw_of(wav(samples, subtype)) is Reason.SILENT


def test_channels_that_cancel_each_other_out_are_silent() -> None:
    assert flaw_of(wav(np.stack([speech_like(), -speech_like()], axis=1))) is Reason.SILENT


@pytest.mark.parametrize("kind", ["FLAC", "WAV", "MP3", "OGG"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_a_clipped_clip_is_told_from_a_loud_one(rate: int, kind: str) -> None:
    speech = np.random.default_rng(0).laplace(0, 1.0, rate)
    loud, clipped = speech / np.abs(speech).max(), np.clip(speech, -1, 1)
    assert flaw_of(encoded(loud, rate, kind)) is None
    assert flaw_of(encoded(clipped, rate, kind)) is Reason.CLIPPED


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "ULAW", "ALAW", "FLOAT"])
def test_clipping_is_found_in_any_kind_of_samples_and_on_one_channel(subtype: str) -> None:
    clipped = np.clip(speech_like() * 10, -1, 1)
    assert flaw_of(wav(np.stack([0 * clipped, clipped], axis=1), subtype)) is Reason.CLIPPED
