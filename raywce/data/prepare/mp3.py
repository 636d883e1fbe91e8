"""How long an MP3 is: counted from its frames, where its header does not say so for all of them.

libsndfile reads as many frames as the Xing header in the first one states, and without it (a file written to a pipe,
or cut without encoding it again) as many as it guesses from the first frames' bit rate. Of files joined end to end it
reads the first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

# ISO 11172-3 and 13818-3, layer III, by the header's two bits of the version: 2.5, none, 2, 1.
_RATES = ((11_025, 12_000, 8_000), (), (22_050, 24_000, 16_000), (44_100, 48_000, 32_000))
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_VERSION_1, _LAYER_3, _MONO = 3, 1, 3
_TAGS = (b"Xing", b"Info")
_ROOMY = 8  # of the bit rates: a frame of 96 bytes or more
_NO_CHECKSUM = 1
_FRAMES_STATED = 1  # a flag of the Xing header
_SLACK = 2  # frames: an encoder may count its own header, or its last frame, or not


@dataclass(frozen=True)
class _Frame:
    """One frame of layer III: where it begins and ends, its header's four bytes, and where a Xing header would be."""

    start: int
    end: int
    header: bytes
    xing: int

    @property
    def kind(self) -> tuple[int, int]:
        """What all frames of a file share: version and layer, and the sampling rate."""
        return self.header[1] & 0xFE, self.header[2] & 0x0C


@lru_cache(maxsize=1)  # the segments of one recording come one behind the other
def with_length(data: bytes) -> bytes:
    """Return an MP3 with a Xing header that states the number of its frames; other files, and right ones, as they are.

    Args:
        data: a file's bytes.
    """
    first = _frame(data, _after_tag(data, 0))
    if first is None:
        return data
    stated, count = _stated(data, first), 0
    for frame in _frames(data, first):
        count += data[frame.xing : frame.xing + 4] not in _TAGS
    if stated is not None and stated >= count - _SLACK:
        return data
    begin = first.start if stated is None else first.end
    return data[: first.start] + _xing(first, count, len(data) - begin) + data[begin:]


def _after_tag(data: bytes, at: int) -> int:
    """Return where an ID3v2 tag ends that begins here; here where there is none."""
    if data[at : at + 3] != b"ID3" or len(data) < at + 10:
        return at
    size = 0
    for byte in data[at + 6 : at + 10]:
        size = size << 7 | byte & 0x7F
    return at + 10 + size


def _frame(data: bytes, at: int) -> _Frame | None:
    """Read a frame's header; None where there is none of layer III with a stated bit rate."""
    header = data[at : at + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    rates, bits, rate = _RATES[version], header[2] >> 4, header[2] >> 2 & 3
    if layer != _LAYER_3 or not rates or rate == 3 or bits in {0, 15}:
        return None
    is_first = version == _VERSION_1
    kbits = (_KBITS_1 if is_first else _KBITS_2)[bits]
    size = (144_000 if is_first else 72_000) * kbits // rates[rate] + (header[2] >> 1 & 1)
    side = (17 if is_first else 9) if header[3] >> 6 == _MONO else (32 if is_first else 17)
    return _Frame(at, at + size, header, at + 4 + side)


def _frames(data: bytes, first: _Frame) -> Iterator[_Frame]:
    """Iterate over whole frames; between them, tags and anything else are passed over, as decoders do."""
    at = first.start
    while at < len(data):
        frame = _frame(data, at)
        if frame is not None and frame.kind == first.kind and frame.end <= len(data):
            yield frame
            at = frame.end
        elif (after := _after_tag(data, at)) > at:
            at = after
        else:
            at = data.find(b"\xff", at + 1)
            if at < 0:
                return


def _stated(data: bytes, first: _Frame) -> int | None:
    """Return the number of frames that the first one's Xing header states; None where it has none."""
    if data[first.xing : first.xing + 4] not in _TAGS or len(data) < first.xing + 12:
        return None
    flags, frames = struct.unpack_from(">II", data, first.xing + 4)
    return int(frames) if flags & _FRAMES_STATED else None


def _xing(like: _Frame, frames: int, size: int) -> bytes:
    """Return a frame that holds nothing but the number of frames that follow it, and of bytes, its own among them."""
    roomy = bytes([like.header[0], like.header[1] | _NO_CHECKSUM, like.header[2] & 0x0F | _ROOMY << 4, like.header[3]])
    frame = _frame(roomy, 0)
    assert frame is not None
    content = bytearray(frame.end)
    content[:4] = roomy
    struct.pack_into(">4sIII", content, frame.xing, b"Xing", 3, frames, len(content) + size)
    return bytes(content)
