"""MP3 without the number of its frames, or with that of its first part: read to the end, against what was encoded."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from raywce.data.prepare.audio import BadAudioError, decode
from raywce.data.prepare.mp3 import with_length
from raywce.data.prepare.summary import Reason

RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
DELAY = 576  # samples of the encoder; a whole header has them taken off
SECONDS, TAGS = 6, (b"ID3\4\0\0\0\0\0\4" + bytes(4), b"TAG" + bytes(125))


def speech(rate: int, channels: int = 1, loud_first: bool = True) -> np.ndarray:
    """Half of it is noise and half is silence, so that its bit rate varies."""
    samples = 0.2 * np.random.default_rng(0).standard_normal((SECONDS * rate, channels))
    half = SECONDS * rate // 2
    samples[half:] *= not loud_first
    samples[:half] *= loud_first
    return samples.astype(np.float32)


def encoded(samples: np.ndarray, rate: int, mode: str = "VARIABLE") -> bytes:
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", rate, samples.shape[1], format="MP3", bitrate_mode=mode, compression_level=0.5
    ) as file:
        file.write(samples)
    return buffer.getvalue()


def without_length(data: bytes) -> bytes:
    """Its frames alone: an encoder that can't go back to the beginning leaves the first one out."""
    return data[data.index(data[:2], 4) :]


def seconds(data: bytes) -> float:
    return len(decode(data, 60).samples) / 16_000


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_without_its_number_of_frames_it_is_read_to_the_end(rate: int, channels: int, mode: str) -> None:
    whole = encoded(speech(rate, channels), rate, mode)
    expected = soundfile.read(io.BytesIO(whole), always_2d=True)[0]
    found = soundfile.read(io.BytesIO(with_length(without_length(whole))), always_2d=True)[0]
    assert 0 <= len(found) - len(expected) <= 2 * 1152  # its last frame is whole, and the encoder's delay is in it
    assert np.abs(found[DELAY : DELAY + len(expected)] - expected).max() < 2e-3


@pytest.mark.parametrize("loud_first", [True, False])
def test_neither_too_long_nor_cut_by_a_guess_from_its_first_frames(loud_first: bool) -> None:
    data = without_length(encoded(speech(44_100, loud_first=loud_first), 44_100))
    assert seconds(data) == pytest.approx(SECONDS, abs=0.1)
    guessed = soundfile.info(io.BytesIO(data)).duration
    assert abs(guessed - SECONDS) > 1  # what is at stake


@pytest.mark.parametrize("before", [b"", TAGS[0]])
@pytest.mark.parametrize("between", [b"", TAGS[1], TAGS[0], TAGS[1] + TAGS[0], b"\xff" * 5])
@pytest.mark.parametrize("stated", [True, False])
def test_files_joined_end_to_end_are_read_whole(before: bytes, between: bytes, stated: bool) -> None:
    one = encoded(speech(24_000), 24_000)
    part = one if stated else without_length(one)
    assert seconds(before + part + between + part) == pytest.approx(2 * SECONDS, abs=0.2)


def test_a_file_that_states_its_length_is_left_as_it_is() -> None:
    for mode in ("VARIABLE", "CONSTANT"):
        for tags in ((b"", b""), TAGS):
            data = tags[0] + encoded(speech(16_000), 16_000, mode) + tags[1]
            assert with_length(data) is data
            assert len(decode(data, 60).samples) == SECONDS * 16_000


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xfb\x90", b"ID3", b"RIFF" + bytes(40), b"\xff\xff\xff\xff" * 9])
def test_what_is_no_mp3_is_left_as_it_is(data: bytes) -> None:
    assert with_length(data) is data


def test_a_file_cut_short_of_its_stated_length_is_refused_and_one_without_it_is_kept_as_far_as_it_goes() -> None:
    whole = encoded(speech(16_000), 16_000, "CONSTANT")
    with pytest.raises(BadAudioError) as error:
        decode(whole[: len(whole) // 2], 60)
    assert error.value.reason is Reason.TRUNCATED_AUDIO
    assert seconds(without_length(whole)[: len(whole) // 2]) == pytest.approx(SECONDS / 2, abs=0.15)


def test_segments_are_those_of_the_same_file_with_its_length() -> None:
    data = without_length(encoded(speech(16_000, loud_first=False), 16_000))
    everything = decode(data, 60).samples
    segment = decode(data, 60, offset=4.0, seconds=1.0).samples
    assert np.abs(segment[2_000:-2_000] - everything[64_000:80_000][2_000:-2_000]).max() < 0.05
