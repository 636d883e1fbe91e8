"""How fast speech is prepared, in hours of audio a minute; run with -m benchmark -s."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import soundfile

from raywce.data.prepare.rows import RowOptions
from raywce.data.prepare.run import PrepareOptions, run
from tests.data.conftest import tone

CLIPS, SECONDS = 120, 8.0


@pytest.mark.benchmark
@pytest.mark.parametrize(("suffix", "rate"), [(".flac", 16_000), (".mp3", 32_000), (".wav", 44_100)])
@pytest.mark.parametrize("jobs", [1, 2])
def test_hours_of_audio_a_minute(tmp_path: Path, suffix: str, rate: int, jobs: int) -> None:
    clip = tmp_path / f"clip{suffix}"
    soundfile.write(clip, tone(SECONDS, rate), rate)
    lines = [f'{{"audio_filepath": "{clip}", "text": "ola", "id": "{index}"}}' for index in range(CLIPS)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    options = PrepareOptions((str(tmp_path / "train.jsonl"),), tmp_path / "out", rows=RowOptions("gl"), jobs=jobs)
    start = time.perf_counter()
    prepared = run(options)
    minutes = (time.perf_counter() - start) / 60
    hours = prepared.groups[0].hours
    print(f"\n{suffix} {rate} Hz, {jobs} jobs: {hours / minutes:.1f} hours of audio a minute ({hours:.2f} h)")
    assert prepared.utterances == CLIPS
