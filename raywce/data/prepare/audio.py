"""Decoding of any audio to 16 kHz mono, with a reason for what is damaged, and encoding to 16-bit FLAC."""

from __future__ import annotations

import io
import math
import struct
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from raywce.data.prepare.mp3 import with_length
from raywce.data.prepare.summary import Reason
from raywce.data.schema import SAMPLE_RATE

Samples = npt.NDArray[np.float32]

_SLACK = 0.1  # seconds by which an MP3 header or a manifest's duration may be off
_FULL_SCALE = 32_768  # 16 bit
_UNKNOWN = 2**61  # so many frames or more: the length is not in the header
_INTEGER_SCALES = (2.0**15, 2.0**23, 2.0**31)  # full scale of 16, 24 and 32 bit
_UNSCALED = 128.0  # float samples beyond it are no loud ones of full scale 1
_OVERSHOOT = 1.25  # how far resampling takes samples beyond their full scale
_SILENCE = 16 / _FULL_SCALE  # -66 dB; A-law has no smaller sample than half of it
_TOP, _CLIPPED = 0.98, 0.01  # mu-law ends at 0.98; ordinary speech has next to no flat tops there
_CONVERT = "If it can be played, convert it to WAV or FLAC"
_OPEN_SIZES, _NEAR = (2**31, 2**32), 8192  # what writers to a pipe state; they round it to whole frames


class BadAudioError(Exception):
    """Audio that can't be used, with the reason to list it under."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True)
class Clip:
    """Decoded audio.

    Attributes:
        samples: float32, shape (T,), 16 kHz, full scale is 1.
        clipped: the share of samples, of any channel, that continue a flat top at full scale or exceed it.
        rescaled: whether they were divided to fit full scale.
    """

    samples: Samples
    clipped: float
    rescaled: bool

    @property
    def flaw(self) -> tuple[Reason, str] | None:
        """What makes it useless as speech though it can be decoded, with the measured value; None where nothing does.

        Wholly silent: no sample is further than -66 dB from the mean; so are a constant, and channels that cancel each
        other out. Heavily clipped: more than 1 % of the samples are.
        """
        level = float(np.abs(self.samples - self.samples.mean()).max())
        if level <= _SILENCE:
            return Reason.SILENT, f"no sample further than {level:.5f} of full scale from the mean"
        return (Reason.CLIPPED, f"{self.clipped:.1%} of the samples") if self.clipped > _CLIPPED else None


def decode(data: bytes, max_seconds: float, offset: float = 0.0, seconds: float | None = None) -> Clip:
    """Decode a file's bytes, or a segment of them, to 16 kHz mono.

    Args:
        data: the file's bytes, in any format of libsndfile (FLAC, WAV, MP3, Ogg, …).
        max_seconds: a longer recording, or segment, is bad; it is not decoded.
        offset: where the segment starts, seconds.
        seconds: how long it is; None: up to the end.

    Returns:
        The clip; float samples in the scale of integers, or else beyond full scale, are divided to fit.

    Raises:
        BadAudioError: empty, not decodable, cut short, without samples, too long, or samples that are no sound.
    """
    if not data:
        raise BadAudioError(Reason.EMPTY_FILE, "0 bytes")
    data = with_length(_checked_container(data))
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.LibsndfileError as error:
        said = error.error_string.rstrip(".")
        raise BadAudioError(Reason.UNDECODABLE_AUDIO, f"{said}; it starts with {data[:16]!r}. {_CONVERT}") from error
    with file:
        samples = _read(file, max_seconds, offset, seconds)
        rate, is_float = file.samplerate, file.subtype in ("FLOAT", "DOUBLE")
    scaled = _scaled(samples) if is_float else samples
    mono = scaled.mean(axis=1, dtype=np.float32)
    mono = mono if rate == SAMPLE_RATE else _resample(mono, rate)
    return Clip(mono, _clipped(scaled), rescaled=scaled is not samples)


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
    if wanted > limit and wanted <= available and file.frames < _UNKNOWN:
        raise BadAudioError(Reason.TOO_LONG, f"{wanted / rate:.2f} s, limit {max_seconds:g} s")
    try:
        if start:
            file.seek(start)
        if file.frames >= _UNKNOWN:
            samples = _to_the_end(file, limit + 1)
        else:
            samples = file.read(min(wanted, limit + 1), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        detail = f"{error.error_string} (of {file.frames / rate:.2f} s)"
        raise BadAudioError(Reason.TRUNCATED_AUDIO, detail) from error
    _check_length(file, len(samples), wanted, limit)
    return samples


def _to_the_end(file: soundfile.SoundFile, most: int) -> Samples:
    """Return what a file without its length in the header holds: at its end, libsndfile fails after it has read."""
    samples: Samples = np.full((most, file.channels), np.nan, np.float32)
    with suppress(soundfile.LibsndfileError):
        samples = file.read(out=samples)
    unread = np.flatnonzero(np.isnan(samples[:, 0]))
    return samples[: unread[0]] if len(unread) else samples


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
    known_length = wanted < _UNKNOWN
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


def _scaled(samples: Samples) -> Samples:
    """Return float samples as they are, or, beyond full scale, divided to fit it.

    Raises:
        BadAudioError: not all are finite, or the largest ones leave nothing of the others in 16 bits.
    """
    if not np.isfinite(samples).all():
        share = float(np.mean(~np.isfinite(samples)))
        raise BadAudioError(Reason.NOT_FINITE, f"{share:.1%} of the samples are NaN or infinite")
    peak = float(np.abs(samples).max())
    if peak <= 1:
        return samples
    scales = _INTEGER_SCALES if peak > _UNSCALED else ()
    scale = next((of for of in scales if peak <= of * _OVERSHOOT), peak)
    scaled: Samples = samples / np.float32(max(scale, peak))
    if np.count_nonzero(np.rint(scaled * _FULL_SCALE)) < np.count_nonzero(samples) / 2:
        raise BadAudioError(Reason.UNKNOWN_SCALE, f"samples up to {peak:g}, most of them next to 0")
    return scaled


def _clipped(samples: Samples) -> float:
    """Return the share of (T, channels) samples that continue a flat top at full scale, or exceed it."""
    if max(samples.max(), -samples.min()) < _TOP:  # most clips: no copy is made of them
        return 0.0
    sizes = np.abs(samples)
    beyond = sizes > 1
    beyond[1:] |= (sizes[1:] >= _TOP) & (samples[1:] == samples[:-1])
    return float(beyond.mean(axis=0).max())


def _checked_container(data: bytes) -> bytes:
    """Check the stated sizes of WAV and Ogg: libsndfile takes what is there as all there was.

    Returns:
        The bytes; a WAV whose size a streaming writer left open has that of what is there.
    """
    promised = 0
    if data[:4] in (b"RIFF", b"RIFX") and data[8:12] == b"WAVE":
        order = "<" if data[:4] == b"RIFF" else ">"
        at, size = _wav_data(data, order)
        if at and _is_open(data, at, size, order):
            return data[: at - 4] + struct.pack(f"{order}I", len(data) - at) + data[at:]
        promised = at + size
    elif data[:4] == b"OggS":
        promised = _ogg_end(data)
    if promised > len(data):
        raise BadAudioError(Reason.TRUNCATED_AUDIO, f"{len(data)} of {promised} bytes")
    return data


def _wav_data(data: bytes, order: str) -> tuple[int, int]:
    """Return where the samples begin, and their stated size in bytes; twice 0 where there is no data chunk."""
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, position)
        if name == b"data":
            return position + 8, size
        position += 8 + size + size % 2
    return 0, 0


def _is_open(data: bytes, at: int, size: int, order: str) -> bool:
    """Return whether the size is what a streaming writer states, which can't know it."""
    if size == 0:
        return not _are_chunks(data, at, order)
    return at + size > len(data) and any(abs(size - of) <= _NEAR for of in _OPEN_SIZES)


def _are_chunks(data: bytes, position: int, order: str) -> bool:
    """Return whether the rest are whole chunks of a RIFF file, or nothing: not so with samples."""
    while position + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, position)
        if not (name.isascii() and name.decode("ascii").isprintable()):
            return False
        position += 8 + size + size % 2
    return len(data) <= position <= len(data) + 1


def _ogg_end(data: bytes) -> int:
    """Return where the last page ends by its own segment table."""
    page = data.rfind(b"OggS")
    if len(data) < page + 27:
        return page + 27
    segments = data[page + 26]
    table = data[page + 27 : page + 27 + segments]
    return page + 27 + segments + sum(table)
