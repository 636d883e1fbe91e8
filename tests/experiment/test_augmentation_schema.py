from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raywce.experiment.augmentation_schema import Augmentation
from raywce.experiment.load import load
from raywce.experiment.space import may_be_searched
from tests.experiment.example import changed

PAPER = "augmentation.preset=paper"
NEVER_SEARCHED = {
    "augmentation.preset",
    "augmentation.languages",
    "augmentation.impulse_response.folder",
    "augmentation.background_noise.folder",
}


def leaves(section: Any, path: str = "augmentation") -> list[str]:
    if not isinstance(section, dict):
        return [path]
    return [leaf for key, inner in section.items() for leaf in leaves(inner, f"{path}.{key}")]


ALL = leaves(Augmentation().model_dump())


def probabilities(augmentation: Augmentation) -> dict[str, float]:
    return {key: transform.probability for key, transform in augmentation.transforms.items() if transform.probability}


def test_a_file_without_the_section_has_no_augmentation(example: Path) -> None:
    experiment = changed(example).experiment
    assert experiment.augmentation == Augmentation()
    assert not probabilities(experiment.augmentation)
    assert not experiment.augmentation.active
    assert experiment.augmented_languages == []


def test_the_preset_is_the_papers(example: Path) -> None:
    """arXiv 2409.16954: stretch 0.9 to 1.1, 4 semitones, 6 dB, amplitude 0.005 to 0.015, one augmented copy."""
    augmentation = changed(example, PAPER).experiment.augmentation
    assert probabilities(augmentation) == {"time_stretch": 0.2, "pitch_shift": 0.2, "gain": 0.1, "white_noise": 0.2}
    assert (1 - augmentation.time_stretch.rate, 1 + augmentation.time_stretch.rate) == (0.9, 1.1)
    assert augmentation.pitch_shift.semitones == 4
    assert augmentation.gain.decibels == 6
    assert augmentation.white_noise.amplitude == pytest.approx(0.005 / 0.5) == pytest.approx(0.015 / 1.5)
    assert augmentation.white_noise.snr is None
    assert (augmentation.copies, augmentation.strength) == (1, 1.0)
    assert augmentation.active


@pytest.mark.parametrize(
    ("overrides", "slowest"),
    [
        ([PAPER], 1 / 0.9),
        ([PAPER, "augmentation.strength=0.5"], 1 / 0.95),
        ([PAPER, "augmentation.time_stretch.rate=0.5"], 2.0),
        ([PAPER, "augmentation.time_stretch.probability=0"], 1.0),
        ([PAPER, "augmentation.copies=0"], 1.0),
        ([], 1.0),
    ],
)
def test_a_copy_becomes_as_much_longer_as_the_slowest_stretch(
    example: Path, overrides: list[str], slowest: float
) -> None:
    assert changed(example, *overrides).experiment.slowest == pytest.approx(slowest)


def test_what_is_written_goes_before_the_preset(example: Path) -> None:
    written = ["augmentation.copies=3", "augmentation.gain.decibels=2", "augmentation.pitch_shift.probability=0"]
    augmentation = changed(
        example, PAPER, *written, "augmentation.spec_augment.probability=0.5"
    ).experiment.augmentation
    assert augmentation.copies == 3
    assert (augmentation.gain.probability, augmentation.gain.decibels) == (0.1, 2.0)
    assert (augmentation.pitch_shift.probability, augmentation.pitch_shift.semitones) == (0.0, 4.0)
    assert augmentation.spec_augment.probability == 0.5


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["augmentation.gain.probability=0.0", "augmentation.white_noise={amplitude: null, snr: 10}"],
        ["augmentation.strength={uniform: [0, 1.5]}", "augmentation.copies={choice: [0, 1, all]}"],
    ],
)
def test_a_resolved_preset_reads_back_as_the_same(example: Path, tmp_path: Path, overrides: list[str]) -> None:
    file = changed(example, PAPER, *overrides)
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(file.resolved_yaml())
    assert load(resolved) == file
    assert load(resolved).resolved_yaml() == file.resolved_yaml()


@pytest.mark.parametrize(
    ("overrides", "active"),
    [
        ([PAPER], True),
        ([PAPER, "augmentation.copies=all"], True),
        ([PAPER, "augmentation.copies=0"], False),
        ([PAPER, "augmentation.strength=0"], False),
        (["augmentation.copies=2", "augmentation.strength=2"], False),
        (["augmentation.spec_augment.probability=0.1"], True),
    ],
)
def test_when_it_acts(example: Path, overrides: list[str], active: bool) -> None:
    experiment = changed(example, *overrides).experiment
    assert experiment.augmentation.active is active
    assert experiment.augmented_languages == (["gl"] if active else [])


def test_whose_audio(example: Path) -> None:
    assert changed(example, PAPER, "augmentation.languages=[es, gl]").experiment.augmented_languages == ["es", "gl"]


@pytest.mark.parametrize("path", [path for path in ALL if path not in NEVER_SEARCHED])
def test_a_leaf_can_be_searched(example: Path, path: str) -> None:
    value = "{int: [0, 2]}" if path.endswith(("copies", "masks")) else "{uniform: [0.01, 0.02]}"
    others = ["augmentation.white_noise.amplitude=null"] if path.endswith("white_noise.snr") else []
    folder = example.parent / "recordings"
    folder.mkdir()
    (folder / "0.wav").touch()
    recorded = [f"{other}={folder}" for other in NEVER_SEARCHED if other.endswith(".folder")]
    file = changed(example, *others, *recorded, f"{path}={value}")
    assert list(file.space) == [path]
    low, high = file.space[path].values
    section, _, leaf = path.rpartition(".")
    for drawn in (low, high):
        augmentation: Any = file.at({path: drawn}).augmentation
        holder = augmentation if section == "augmentation" else getattr(augmentation, section.split(".")[1])
        assert getattr(holder, leaf) == drawn


def test_which_leaves_are_never_searched() -> None:
    assert {path for path in ALL if not may_be_searched(path)} == NEVER_SEARCHED
