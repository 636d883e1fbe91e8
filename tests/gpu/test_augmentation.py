"""Each transform does to an utterance on the GPU what it does on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raywce.augmentation.augmenter import Augmenter
from raywce.augmentation.spec_augment import SpecAugment
from raywce.augmentation.transforms import (
    BackgroundNoise,
    Gain,
    ImpulseResponse,
    PitchShift,
    TimeStretch,
    Transform,
    WhiteNoise,
)
from raywce.precision import products
from tests.augmentation import recordings
from tests.augmentation.recordings import keys
from tests.augmentation.test_augmenter import LENGTHS, batch
from tests.gpu.small import off

pytestmark = pytest.mark.gpu


def chain() -> list[Transform]:
    rng = np.random.default_rng(5)
    noise = recordings.of(rng.standard_normal(64_000).astype(np.float32))
    response = recordings.of((rng.standard_normal(4_000) * np.exp(-np.arange(4_000) / 500)).astype(np.float32))
    return [
        TimeStretch(1.0, 1.0, 0.1, 48_000),
        PitchShift(1.0, 1.0, 4.0),
        ImpulseResponse(1.0, 1.0, 0.7, response),
        Gain(1.0, 1.0, 6.0),
        BackgroundNoise(1.0, 1.0, 15.0, noise),
        WhiteNoise(1.0, 1.0, 0.01, None),
        WhiteNoise(1.0, 1.0, None, 15.0),
    ]


@pytest.mark.parametrize(
    "transforms", [*([one] for one in chain()), chain()], ids=lambda of: "+".join(t.name for t in of)
)
@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_a_transform_is_the_cpus(device: torch.device, transforms: list[Transform], precision: str) -> None:
    augmenter = Augmenter(transforms, None, 1)
    expected, lengths = augmenter.waveforms(batch(), LENGTHS, keys(4))
    with products(precision):
        own, same = augmenter.waveforms(batch().to(device), LENGTHS, keys(4))
    assert own.device.type == device.type
    assert same == lengths
    for row in range(len(LENGTHS)):
        assert off(own[row], expected[row]) < 1e-2


def test_masks_are_the_cpus(device: torch.device) -> None:
    features = torch.randn(4, 80, 300, generator=torch.Generator().manual_seed(0))
    masks = SpecAugment(1.0, 2, 0.05, 2, 0.2)
    expected, own = (masks(features.to(of), [300, 200, 100, 50], keys(4)).cpu() for of in (torch.device("cpu"), device))
    torch.testing.assert_close(own, expected)
    assert not torch.equal(expected, features)
