"""Real speech and real weights for the tests that want them: their folders come from the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raywce.data.prepare.run import PrepareOptions, run

WHISPER = "RAYWCE_WHISPER"  # a transformers folder, Whisper base
SPEECH = "RAYWCE_SPEECH"  # <language>/<split>/metadata.csv and the clips it names


def folder_of(variable: str) -> Path:
    """The folder that an environment variable names; skips the test where it names none."""
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it names a folder of {'weights' if variable == WHISPER else 'speech'}")
    if not Path(value).is_dir():
        pytest.fail(f"{variable} must name a folder, but got {value}")
    return Path(value)


def prepare_speech(out: Path) -> Path:
    """Prepare the real speech into `out` and return it."""
    run(PrepareOptions(sources=(str(folder_of(SPEECH)),), out=out, jobs=2))
    return out
