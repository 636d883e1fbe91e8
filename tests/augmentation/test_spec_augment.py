from __future__ import annotations

import pytest
import torch

from raywce.augmentation.spec_augment import SpecAugment
from tests.augmentation.recordings import keys

BINS, FRAMES, OWN = 80, 300, 120


def masked(spec_augment: SpecAugment, count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    features = torch.randn(count, BINS, FRAMES, generator=torch.Generator().manual_seed(0))
    before = features.clone()
    out = spec_augment(features, [OWN] * count, keys(count))
    assert torch.equal(features, before), "the features themselves are left alone"
    return before, out


def test_masks_lie_within_the_utterances_own_frames_and_hold_its_mean() -> None:
    before, after = masked(SpecAugment(1.0, 2, 0.3, 2, 0.2))
    assert torch.equal(before[..., OWN:], after[..., OWN:])
    for one, other in zip(before, after, strict=True):
        changed = one != other
        mean = one[:, :OWN].mean()
        torch.testing.assert_close(other[changed], mean.expand(int(changed.sum())))


def test_widths_go_up_to_their_bounds() -> None:
    before, after = masked(SpecAugment(1.0, 1, 0.25, 0, 0.0), 400)
    widths = (before != after).all(1).sum(1)
    assert int(widths.max()) == pytest.approx(0.25 * OWN, abs=1)
    assert int(widths.min()) == 0
    before, after = masked(SpecAugment(1.0, 0, 0.0, 1, 0.5), 400)
    heights = (before != after)[..., :OWN].all(2).sum(1)
    assert int(heights.max()) == pytest.approx(0.5 * BINS, abs=1)


def test_probability_and_keys_say_who_is_masked() -> None:
    before, after = masked(SpecAugment(0.4, 2, 0.3, 2, 0.3), 400)
    share = (before != after).flatten(1).any(1).float().mean()
    assert float(share) == pytest.approx(0.4, abs=0.08)
    features = torch.randn(2, BINS, FRAMES)
    out = SpecAugment(1.0, 2, 0.3, 2, 0.3)(features, [OWN] * 2, [None, keys(1)[0]])
    assert torch.equal(out[0], features[0])
    assert not torch.equal(out[1], features[1])


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_very_short_utterances(frames: int) -> None:
    features = torch.zeros(1, BINS, FRAMES)
    assert SpecAugment(1.0, 2, 1.0, 2, 1.0)(features, [frames], keys(1)).isfinite().all()
