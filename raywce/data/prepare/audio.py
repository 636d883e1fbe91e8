"""Decoding of any audio to 16 kHz mono, with a reason for what is damaged, and encoding to 16-bit FLAC."""

from __future__ import annotations

import io
import math
import struct

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from raywce.data.prepare.summary import Reason
from raywce.data.schema import SAMPLE_RATE

Samples = npt.NDArray[np.float32]

_SLACK = 0.1  # seconds by which an MP3 header or a manifest's duration may be off
_FULL_SCALE = 32_768  # 16 bit


class BadAudioError(Exception):
    """Audio that can't be used, with the reason to list it under."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


def decode(data: bytes, max_seconds: float, offset: float = 0.0, seconds: float | None = None) -> Samples:
    """Decode a file's bytes, or a segment of them, to 16 kHz mono.

    Args:
        data: the file's bytes, in any format of libsndfile (FLAC, WAV, MP3, Ogg, …).
        max_seconds: a longer recording, or segment, is bad; it is not decoded.
        offset: where the segment starts, seconds.
        seconds: how long it is; None: up to the end.

    Returns:
        samples: float32, shape (T,), full scale is 1.

    Raises:
        BadAudioError: empty, not decodable, cut short, without samples or too long.
    """
    if not data:
        raise BadAudioError(Reason.EMPTY_FILE, "0 bytes")
    _check_container(data)
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.LibsndfileError as error:
        raise BadAudioError(Reason.UNDECODABLE_AUDIO, error.error_string) from error
    with file:
        samples = _read(file, max_seconds, offset, seconds)
        rate = file.samplerate
    mono = samples.mean(axis=1, dtype=np.float32)
    return mono if rate == SAMPLE_RATE else _resample(mono, rate)


def encode_flac(samples: Samples) -> bytes:
    """Return 16-bit FLAC of 16 kHz mono samples; what came from 16 bit at 16 kHz is kept bit for bit.

    libsndfile itself would scale by 32767, which changes samples: the rounding is done here.
    """
    integers = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, integers, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _read(file: soundfile.SoundFile, max_seconds: float, offset: float, seconds: float | None) -> Samples:
    """Return the segment's samples, shape (T, channels), at the file's own rate."""
    rate = file.samplerate
    start = round(offset * rate)
    available = file.frames - start
    wanted = _wanted(available, rate, seconds)
    limit = math.floor(max_seconds * rate)
    if wanted > limit and wanted <= available and file.frames < 2**62:  # beyond: length not in the header
        raise BadAudioError(Reason.TOO_LONG, f"{wanted / rate:.2f} s, limit {max_seconds:g} s")
    try:
        if start:
            file.seek(start)
        samples: Samples = file.read(min(wanted, limit + 1), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        detail = f"{error.error_string} (of {file.frames / rate:.2f} s)"
        raise BadAudioError(Reason.TRUNCATED_AUDIO, detail) from error
    _check_length(file, len(samples), wanted, limit)
    return samples


def _wanted(available: int, rate: int, seconds: float | None) -> int:
    """Count the frames to read: a stated length within the slack of the end means up to the end."""
    if available < 0:
        raise BadAudioError(Reason.TRUNCATED_AUDIO, f"ends {-available / rate:.2f} s before the segment")
    if seconds is None or abs(seconds * rate - available) <= _SLACK * rate:
        return available
    return round(seconds * rate)


def _check_length(file: soundfile.SoundFile, got: int, wanted: int, limit: int) -> None:
    """Check the frames read: fewer than the header, or the segment, promises mean a file that was cut."""
    rate = file.samplerate
    if got > limit:
        raise BadAudioError(Reason.TOO_LONG, f"more than {limit / rate:g} s")
    known_length = wanted < 2**61
    slack = _SLACK * rate if file.format == "MP3" else 0
    if known_length and got < wanted - slack:
        raise BadAudioError(Reason.TRUNCATED_AUDIO, f"{got / rate:.2f} s of {wanted / rate:.2f} s")
    if got == 0:
        raise BadAudioError(Reason.NO_SAMPLES, "0 samples")


def _resample(mono: Samples, rate: int) -> Samples:
    resampled: Samples = soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
    if len(resampled) == 0:
        raise BadAudioError(Reason.NO_SAMPLES, f"{len(mono)} samples at {rate} Hz")
    return resampled


def _check_container(data: bytes) -> None:
    """Check the stated sizes of WAV and Ogg: libsndfile takes what is there as all there was."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        promised = _wav_end(data)
    elif data[:4] == b"OggS":
        promised = _ogg_end(data)
    else:
        return
    if promised > len(data):
        raise BadAudioError(Reason.TRUNCATED_AUDIO, f"{len(data)} of {promised} bytes")


def _wav_end(data: bytes) -> int:
    """Return where the data chunk ends by its own size; 0 where a streaming writer left the size open."""
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        if name == b"data":
            return 0 if size >= 0xFFFFFFFF - 512 else position + 8 + size
        position += 8 + size + size % 2
    return 0


def _ogg_end(data: bytes) -> int:
    """Return where the last page ends by its own segment table."""
    page = data.rfind(b"OggS")
    if len(data) < page + 27:
        return page + 27
    segments = data[page + 26]
    table = data[page + 27 : page + 27 + segments]
    return page + 27 + segments + sum(table)
