"""The columns of prepared speech: what `prepare` writes and everything else reads."""

from __future__ import annotations

import json

import pyarrow as pa

SAMPLE_RATE = 16_000  # hertz, mono
MAX_SECONDS = 30.0  # Whisper's window
SPLITS = ("train", "dev", "test")

# `datasets` reads its features from this key; decode=False hands out the FLAC bytes (no FFmpeg is needed).
_FEATURES = {
    "id": {"dtype": "string", "_type": "Value"},
    "audio": {"sampling_rate": SAMPLE_RATE, "decode": False, "_type": "Audio"},
    "text": {"dtype": "string", "_type": "Value"},
    "language": {"dtype": "string", "_type": "Value"},
    "speaker": {"dtype": "string", "_type": "Value"},
    "duration": {"dtype": "float32", "_type": "Value"},
}

UTTERANCES = pa.schema(
    [
        ("id", pa.string()),
        ("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("text", pa.string()),
        ("language", pa.string()),
        ("speaker", pa.string()),  # null where unknown
        ("duration", pa.float32()),  # seconds
    ],
    metadata={b"huggingface": json.dumps({"info": {"features": _FEATURES}}).encode()},
)
CONTENT_KEY = b"raywce.content"  # parquet footer: SHA-256 of the rows, the key of everything cached from them
