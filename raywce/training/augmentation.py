"""The augmenter of an experiment: its transforms, in the order in which they act."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from raywce.augmentation.augmenter import Augmenter
from raywce.augmentation.recordings import Recordings, open_recordings
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
from raywce.data.context import EncoderContext
from raywce.data.features import LogMel
from raywce.data.schema import SAMPLE_RATE
from raywce.experiment.schema import Experiment


def make_augmenter(experiment: Experiment, log_mel: LogMel) -> Augmenter:
    """Return what the experiment's augmented copies go through.

    Args:
        experiment: with an active augmentation.
        log_mel: of the checkpoint, past whose window, or past a fixed context, no utterance is stretched.

    Raises:
        InputError: a folder of recordings can't be read.
    """
    section = experiment.augmentation
    strength, masks = section.strength, section.spec_augment
    spec_augment = SpecAugment(
        masks.probability,
        masks.time_masks,
        masks.time_width * strength,
        masks.frequency_masks,
        masks.frequency_width * strength,
    )
    longest = EncoderContext.of(log_mel, experiment.training.encoder_context).longest
    return Augmenter(
        list(_transforms(experiment, round(longest * SAMPLE_RATE))),
        spec_augment if masks.probability else None,
        experiment.training.seed,
        log_mel.hop_length,
    )


def _transforms(experiment: Experiment, max_samples: int) -> Iterator[Transform]:
    section, cache = experiment.augmentation, Path(experiment.data.cache)
    strength = section.strength
    # An intensity of 0 is exactly off: even a stretch by nothing goes through the vocoder.
    if (stretch := section.time_stretch).probability and stretch.rate:
        yield TimeStretch(stretch.probability, strength, stretch.rate, max_samples)
    if (shift := section.pitch_shift).probability and shift.semitones:
        yield PitchShift(shift.probability, strength, shift.semitones)
    if (response := section.impulse_response).probability:
        recordings = _open(response.folder, cache, "impulse_response")
        yield ImpulseResponse(response.probability, strength, response.wet, recordings)
    if (gain := section.gain).probability:
        yield Gain(gain.probability, strength, gain.decibels)
    if (background := section.background_noise).probability:
        recordings = _open(background.folder, cache, "background_noise")
        yield BackgroundNoise(background.probability, strength, background.snr, recordings)
    if (white := section.white_noise).probability:
        yield WhiteNoise(white.probability, strength, white.amplitude, white.snr)


def _open(folder: str | None, cache: Path, name: str) -> Recordings:
    assert folder is not None, "the experiment file was checked"
    return open_recordings(Path(folder), cache, f"augmentation.{name}.folder")
