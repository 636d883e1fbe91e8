from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from raywce.augmentation.recordings import open_recordings
from raywce.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "noise"
    (folder / "inner").mkdir(parents=True)
    time = np.arange(44_100) / 44_100
    soundfile.write(folder / "a.wav", np.stack([np.sin(2 * np.pi * 1000 * time)] * 2, axis=1), 44_100)
    soundfile.write(folder / "inner" / "b.flac", np.linspace(-0.5, 0.5, 500), 16_000)
    (folder / "notes.txt").write_text("not audio")
    return folder


def test_recordings_of_any_rate_are_brought_to_16_khz_mono(folder: Path, tmp_path: Path) -> None:
    recordings = open_recordings(folder, tmp_path / "cache", "path")
    assert [len(recordings[index]) for index in range(len(recordings))] == [16_000, 500]
    spectrum = np.abs(np.fft.rfft(recordings[0]))
    assert spectrum.argmax() == 1000
    np.testing.assert_allclose(recordings[1], np.linspace(-0.5, 0.5, 500), atol=1e-4)
    assert recordings.samples.dtype == np.float32


def test_linked_folders_are_read_and_hidden_files_are_not(folder: Path, tmp_path: Path) -> None:
    (folder / "._a.wav").write_bytes(b"\0\5\x16\7")  # as macOS writes it
    (tmp_path / "elsewhere").mkdir()
    soundfile.write(tmp_path / "elsewhere/c.wav", np.zeros(700), 16_000)
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    recordings = open_recordings(folder, tmp_path / "cache", "path")
    assert [len(recordings[index]) for index in range(len(recordings))] == [16_000, 500, 700]


def test_they_are_brought_there_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_recordings(folder, tmp_path / "cache", "path")
    with monkeypatch.context() as patch:
        patch.setattr("raywce.augmentation.recordings.decode", lambda *_: pytest.fail("decoded again"))
        again = open_recordings(folder, tmp_path / "cache", "path")
    np.testing.assert_array_equal(first.samples, again.samples)
    soundfile.write(folder / "a.wav", np.zeros(100), 16_000)
    assert len(open_recordings(folder, tmp_path / "cache", "path")[0]) == 100, "unless they change"


def test_all_that_is_wrong_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "bad.wav").write_bytes(b"RIFF")
    (folder / "empty.mp3").touch()
    with pytest.raises(InputError) as caught:
        open_recordings(folder, tmp_path / "cache", "augmentation.background_noise.folder")
    assert [problem.path for problem in caught.value.problems] == ["augmentation.background_noise.folder"] * 2
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(InputError, match=r"must be a folder with \.wav"):
        open_recordings(folder, tmp_path / "cache", "path")


def test_pieces_come_from_everywhere_and_a_short_recording_begins_again(folder: Path, tmp_path: Path) -> None:
    recordings = open_recordings(folder, tmp_path / "cache", "path")
    generator = np.random.default_rng(0)
    pieces = [recordings.piece(generator, 800) for _ in range(100)]
    assert {len(piece) for piece in pieces} == {800}
    ramps = [piece for piece in pieces if abs(piece[0] + 0.5) < 1e-3 and abs(piece[500] + 0.5) < 1e-3]
    assert 30 < len(ramps) < 70
