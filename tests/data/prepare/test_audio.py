from __future__ import annotations

import io
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
    again, rate = soundfile.read(io.BytesIO(encode_flac(decode(encoded(samples, kind=kind), 30))), dtype="int16")
    assert rate == 16_000
    assert np.array_equal(again, samples)


def test_44_khz_stereo_is_mixed_down_and_resampled() -> None:
    time = np.arange(44_100) / 44_100
    left = 0.5 * np.sin(2 * np.pi * 1000 * time)
    samples = decode(encoded(np.stack([left, np.zeros_like(left)], axis=1), 44_100), 30)
    assert samples.shape == (16_000,)
    expected = 0.25 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    assert np.abs(samples - expected)[200:-200].max() < 1e-3


@pytest.mark.parametrize("kind", ["FLAC", "WAV", "MP3", "OGG"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_cut_file_is_told_from_a_whole_one(kind: str, share: float) -> None:
    data = encoded(tone(4.0), kind=kind)
    assert decode(data, 30).shape[0] == pytest.approx(64_000, abs=1600)
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
    assert decode(encoded(tone(30.0)), 30).shape == (480_000,)


def test_a_segment_of_a_long_file() -> None:
    samples = tone(40.0)
    cut = decode(encoded(samples), 30, 35.0, 2.5)
    assert np.array_equal(cut, samples[560_000:600_000, 0].astype(np.float32) / 32768)


def test_a_segment_beyond_the_end_is_truncated() -> None:
    assert reason_of(encoded(tone(2.0)), 30, 1.0, 3.0) is Reason.TRUNCATED_AUDIO
    assert reason_of(encoded(tone(2.0)), 30, 5.0, 1.0) is Reason.TRUNCATED_AUDIO


def test_a_rounded_length_takes_all_there_is() -> None:
    assert decode(encoded(tone(2.0)), 30, 0.0, 1.95).shape == (32_000,)


def test_ogg_and_wav_of_a_file_are_whole(tmp_path: Path) -> None:
    for name in ("a.ogg", "a.wav"):
        soundfile.write(tmp_path / name, tone(1.0), 16_000)
        assert decode((tmp_path / name).read_bytes(), 30).shape == (16_000,)
