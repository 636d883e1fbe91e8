"""Who is augmented, and that nobody else is touched."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from raywce.augmentation.augmenter import Augmenter
from raywce.augmentation.spec_augment import SpecAugment
from raywce.augmentation.transforms import Gain, PitchShift, TimeStretch, WhiteNoise
from raywce.data.features import LogMel
from tests.augmentation.recordings import keys
from tests.tiny_whisper import write_tiny_whisper

LENGTHS = [16_000, 12_000, 15_000, 9_000]
CHAIN = (
    TimeStretch(1.0, 1.0, rate=0.2, max_samples=480_000),
    PitchShift(1.0, 1.0, semitones=4.0),
    Gain(1.0, 1.0, decibels=6.0),
    WhiteNoise(1.0, 1.0, amplitude=0.01, snr=None),
)


def batch() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    rows = [0.1 * torch.randn(length, generator=generator) for length in LENGTHS]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def test_utterances_without_a_key_stay_as_they_are_to_the_bit() -> None:
    before = batch()
    kept = before.clone()
    chosen = [None, *keys(2)[:1], None, *keys(2)[1:]]
    out, lengths = Augmenter(CHAIN, None, 0).waveforms(before, LENGTHS, chosen)
    assert torch.equal(before, kept), "the batch itself is left alone"
    assert out.shape[1] == max(lengths)
    for row in (0, 2):
        assert lengths[row] == LENGTHS[row]
        assert torch.equal(out[row, : LENGTHS[row]], before[row, : LENGTHS[row]])
        assert not out[row, LENGTHS[row] :].any()
    for row in (1, 3):
        assert lengths[row] != LENGTHS[row]
        assert not out[row, lengths[row] :].any()


def test_without_keys_or_transforms_nothing_happens() -> None:
    before = batch()
    assert Augmenter(CHAIN, None, 0).waveforms(before, LENGTHS, [None] * 4)[0] is before
    assert Augmenter([], None, 0).waveforms(before, LENGTHS, keys(4))[0] is before


def test_one_transform_more_leaves_the_draws_of_the_others() -> None:
    before = batch()
    gain, noise = CHAIN[2:]
    both, _ = Augmenter([gain, noise], None, 0).waveforms(before, LENGTHS, keys(4))
    gained, _ = Augmenter([gain], None, 0).waveforms(before, LENGTHS, keys(4))
    noisy, _ = Augmenter([noise], None, 0).waveforms(torch.zeros_like(before), LENGTHS, keys(4))
    torch.testing.assert_close(both, gained + noisy)


def test_features_are_those_of_the_augmented_audio(tmp_path: Path) -> None:
    log_mel = LogMel.from_checkpoint(str(write_tiny_whisper(tmp_path / "whisper", chunk_length=3)))
    augmenter = Augmenter(CHAIN, None, seed=5)
    drawn = [None, keys(4, seed=5, epoch=2)[1], None, keys(4, seed=5, epoch=2)[3]]
    assert augmenter.keys([2] * 4, [0, 1, 0, 1], [key.utterance_id for key in keys(4)]) == drawn
    waveforms, lengths = augmenter.waveforms(batch(), LENGTHS, drawn)
    features = augmenter.features(batch(), LENGTHS, drawn, log_mel)
    torch.testing.assert_close(features, log_mel(waveforms))
    torch.testing.assert_close(features[::2], log_mel(batch())[::2], atol=1e-5, rtol=0)

    masked = Augmenter(CHAIN, SpecAugment(1.0, 1, 0.5, 1, 0.5), seed=5).features(batch(), LENGTHS, drawn, log_mel)
    assert torch.equal(masked[::2], features[::2])
    for row in (1, 3):
        frames = -(-lengths[row] // log_mel.hop_length)
        assert torch.equal(masked[row, :, frames:], features[row, :, frames:])
        assert not torch.equal(masked[row, :, :frames], features[row, :, :frames])
