from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from raywce.errors import Problems
from raywce.experiment import text
from raywce.experiment.editor_schema import experiment_schema
from raywce.experiment.overrides import put_in
from tests.experiment.example import FAMILY, FILE, SEARCHED_RATE


def holds(*overrides: str) -> bool:
    tree: Any = put_in(text.parse(FILE, "example"), overrides, Problems())
    return Draft202012Validator(experiment_schema()).is_valid(tree)


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(experiment_schema())


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        [FAMILY],
        [SEARCHED_RATE],
        ["weighting.languages={gl: {alpha: {int: [1, 2]}}}"],
        ["augmentation={preset: paper, languages: [gl], copies: all, strength: {uniform: [0, 1.5]}}"],
        ["augmentation.copies={choice: [0, 1, all]}"],
        ["augmentation.pitch_shift={probability: {uniform: [0, 1]}, semitones: {uniform: [0, 4]}}"],
        ["augmentation.white_noise={amplitude: {loguniform: [0.001, 0.01]}, snr: null}"],
        ["augmentation.spec_augment.time_masks={int: [0, 3]}"],
    ],
)
def test_what_it_allows(overrides: list[str]) -> None:
    assert holds(*overrides)


@pytest.mark.parametrize(
    "override",
    [
        "training.steps={int: [1, 2]}",
        "weighting.scope={choice: [batch]}",
        "weighting.alpha={uniform: [1]}",
        "weighting.alpha={uniform: [1, 2], int: [1, 2]}",
        "weighting.alpha=0",
        "augmentation.preset={choice: [paper]}",
        "augmentation.preset=papers",
        "augmentation.languages={choice: [gl]}",
        "augmentation.languages=[]",
        "augmentation.background_noise.folder={choice: [a, b]}",
        "augmentation.gain={uniform: [0, 6]}",
        "augmentation.gain.decibel=3",
        "augmentation.copies=two",
        "trianing=3",
        "weighting.kind=famly",
    ],
)
def test_what_it_forbids(override: str) -> None:
    assert not holds(override)
