from __future__ import annotations

import pytest

from raywce.data.prepare.splits import split_of, split_of_path, without_splits


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", "train"),
        ("validation", "dev"),
        ("gl_valid", "dev"),
        ("train.clean.100", "train"),
        ("train-00000-of-00002", "train"),
        ("test_manifest", "test"),
        ("train_test", None),
        ("validated", None),
        ("latest", None),
        ("", None),
        (None, None),
    ],
)
def test_split_of(name: str | None, expected: str | None) -> None:
    assert split_of(name) == expected


@pytest.mark.parametrize(
    ("audio", "expected"),
    [
        ("train/clip.wav", "train"),
        ("test/noisy/train.wav", "test"),
        ("train/dev/clip.wav", "dev"),
        ("clip.wav", None),
        ("/data/train/clip.wav", None),
    ],
)
def test_split_of_the_folder_of_audio(audio: str, expected: str | None) -> None:
    assert split_of_path(audio) == expected


def test_words_without_splits() -> None:
    assert without_splits(["gl", "Train", "valid", "clean"]) == ["gl", "clean"]
