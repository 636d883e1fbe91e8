"""Transforms of waveforms in torch-audiomentations' form, each utterance's parameters drawn from its own key.

A transform draws first (`draw`), then is called as torch-audiomentations' own are, its parameters frozen: that library
draws from global random states, a batch at a time. Of its pitch shift only four steps serve at 16 kHz, it has no time
stretch and no noise of a given amplitude, and it counts the padding in the level: these are here.

Dimensions: B batch, T samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch_audiomentations import AddBackgroundNoise, ApplyImpulseResponse
from torch_audiomentations import Gain as LibraryGain
from torch_audiomentations.core.transforms_interface import BaseWaveformTransform
from torch_audiomentations.utils.object_dict import ObjectDict

from raywce.augmentation.keys import DrawKey
from raywce.augmentation.recordings import Recordings
from raywce.augmentation.vocoder import shift_pitch, stretch
from raywce.data.schema import SAMPLE_RATE

SNR_SPREAD = 5.0  # dB on either side of the mean

Parameters = Mapping[str, Tensor | Sequence[float]]
"""Parameters of the utterances that a transform changes, by name."""


class Transform(BaseWaveformTransform):
    """Base of the transforms: whether and how an utterance is changed follows from its key.

    Args:
        probability: that an utterance is changed.
        strength: scales the intensity; 0 is off.
    """

    name = ""
    transform_parameters: dict[str, Any]

    def __init__(self, probability: float, strength: float) -> None:
        # Not the library's own transforms' constructors: they read folders, and know .wav files alone.
        BaseWaveformTransform.__init__(
            self, mode="per_example", p=probability, sample_rate=SAMPLE_RATE, output_type="dict"
        )
        self.strength = strength
        self.freeze_parameters()

    def draw(self, keys: Sequence[DrawKey], waveforms: Tensor, lengths: Sequence[int]) -> list[int]:
        """Draw which utterances are changed, and how.

        Args:
            keys: of the B utterances.
            waveforms: (B, T), zeros behind each utterance.
            lengths: B true lengths, samples.

        Returns:
            The B lengths afterwards.
        """
        generators = [key.generator(self.name) for key in keys]
        chosen = [row for row, generator in enumerate(generators) if generator.random() < self.p]
        self.transform_parameters = {"should_apply": torch.zeros(len(keys), dtype=torch.bool, device=waveforms.device)}
        new_lengths = list(lengths)
        if chosen:
            own = [lengths[row] for row in chosen]
            self.transform_parameters["should_apply"][chosen] = True
            self.transform_parameters["lengths"] = own
            self.transform_parameters |= self.parameters([generators[row] for row in chosen], waveforms[chosen], own)
            for row, length in zip(chosen, self.transform_parameters.get("new_lengths", own), strict=True):
                new_lengths[row] = length
        return new_lengths

    @property
    def changes_any(self) -> bool:
        """Return whether an utterance of the last draw is changed."""
        return "lengths" in self.transform_parameters

    def parameters(self, generators: list[Generator], waveforms: Tensor, lengths: list[int]) -> Parameters:
        """Draw the parameters of the utterances that are changed, one generator each; `new_lengths` if those change."""
        raise NotImplementedError


class OwnTransform(Transform):
    """Base of the transforms that torch-audiomentations lacks."""

    def changed(self, waveforms: Tensor) -> Tensor:
        """Return the (B, T) waveforms, with room for longer ones, changed by the parameters drawn."""
        raise NotImplementedError

    def apply_transform(
        self, samples: Tensor, sample_rate: int | None = None, targets: None = None, target_rate: int | None = None
    ) -> ObjectDict:
        """Return changed (B, 1, T) `samples` of the same shape, as torch-audiomentations expects."""
        return _result(self.changed(samples[:, 0])[:, None], sample_rate)


class TimeStretch(OwnTransform):
    """Time stretch: faster or slower at the same pitch.

    Args:
        rate: drawn evenly within so much of 1; above 1 is faster.
        max_samples: the checkpoint's window: what would pass it is stretched up to it only.
    """

    name = "time_stretch"

    def __init__(self, probability: float, strength: float, rate: float, max_samples: int) -> None:
        super().__init__(probability, strength)
        self.rate, self.max_samples = rate * strength, max_samples

    def parameters(self, generators: list[Generator], waveforms: Tensor, lengths: list[int]) -> Parameters:
        """Draw new lengths."""
        new = []
        for generator, length in zip(generators, lengths, strict=True):
            wanted = round(length / (1.0 + generator.uniform(-1.0, 1.0) * self.rate))
            new.append(max(1, min(wanted, max(length, self.max_samples))))
        return {"new_lengths": new}

    def changed(self, waveforms: Tensor) -> Tensor:
        """Return the stretched waveforms."""
        out = stretch(waveforms, self.transform_parameters["lengths"], self.transform_parameters["new_lengths"])
        return torch.nn.functional.pad(out, (0, waveforms.shape[1] - out.shape[1]))


class PitchShift(OwnTransform):
    """Pitch shift: higher or lower at the same length.

    Args:
        semitones: drawn evenly up to so many, up or down.
    """

    name = "pitch_shift"

    def __init__(self, probability: float, strength: float, semitones: float) -> None:
        super().__init__(probability, strength)
        self.semitones = semitones * strength

    def parameters(self, generators: list[Generator], waveforms: Tensor, lengths: list[int]) -> Parameters:
        """Draw semitones."""
        return {"semitones": [generator.uniform(-1.0, 1.0) * self.semitones for generator in generators]}

    def changed(self, waveforms: Tensor) -> Tensor:
        """Return the shifted waveforms."""
        return shift_pitch(waveforms, self.transform_parameters["lengths"], self.transform_parameters["semitones"])


class ImpulseResponse(Transform, ApplyImpulseResponse):
    """Room or microphone: convolved with a recorded impulse response, the direct sound at its place.

    Args:
        wet: share of the convolved sound in the result; the strength scales it up to 1.
        recordings: impulse responses; each is scaled to an energy of 1.
    """

    name = "impulse_response"

    def __init__(self, probability: float, strength: float, wet: float, recordings: Recordings) -> None:
        super().__init__(probability, strength)
        self.wet, self.recordings = min(1.0, wet * strength), recordings
        self.convolve_mode, self.compensate_for_propagation_delay = "full", True

    def parameters(self, generators: list[Generator], waveforms: Tensor, lengths: list[int]) -> Parameters:
        """Draw impulse responses, (B, 1, T)."""
        responses = [torch.from_numpy(_of_energy_1(self.recordings.any_of(generator))) for generator in generators]
        return {"ir": torch.nn.utils.rnn.pad_sequence(responses, batch_first=True)[:, None].to(waveforms.device)}

    def apply_transform(
        self, samples: Tensor, sample_rate: int | None = None, targets: None = None, target_rate: int | None = None
    ) -> ObjectDict:
        """Return the library's convolution, mixed with the sound before it; reverberation ends with the utterance."""
        # The library cuts a window behind the delay out of the full convolution: it must be long enough.
        response = self.transform_parameters["ir"].shape[-1]
        room = torch.nn.functional.pad(samples, (0, response))
        out = ApplyImpulseResponse.apply_transform(self, room, sample_rate).samples[..., : samples.shape[-1]]
        kept = _within(self.transform_parameters["lengths"], samples.shape[-1], samples.device)[:, None]
        return _result(torch.lerp(samples, out, self.wet) * kept, sample_rate)


class Gain(Transform, LibraryGain):
    """Gain: louder or softer.

    Args:
        decibels: drawn evenly up to so many, up or down.
    """

    name = "gain"

    def __init__(self, probability: float, strength: float, decibels: float) -> None:
        super().__init__(probability, strength)
        self.decibels = decibels * strength

    def parameters(self, generators: list[Generator], waveforms: Tensor, lengths: list[int]) -> Parameters:
        """Draw factors, (B, 1, 1)."""
        decibels = [generator.uniform(-1.0, 1.0) * self.decibels for generator in generators]
        factors = torch.tensor([10 ** (value / 20) for value in decibels], device=waveforms.device)
        return {"gain_factors": factors[:, None, None]}


class BackgroundNoise(Transform, AddBackgroundNoise):
    """Recorded noise under the utterance.

    Args:
        snr: dB over the true length, the mean of the draws; half the strength is 6 dB more.
        recordings: noises.
    """

    name = "background_noise"

    def __init__(self, probability: float, strength: float, snr: float, recordings: Recordings) -> None:
        super().__init__(probability, strength)
        self.snr, self.recordings = _weakened(snr, strength), recordings

    def parameters(self, generators: list[Generator], waveforms: Tensor, lengths: list[int]) -> Parameters:
        """Draw noises of level 1, (B, T), and SNRs."""
        noise = np.zeros((len(lengths), waveforms.shape[1]), np.float32)
        snrs = []
        for row, generator, length in zip(noise, generators, lengths, strict=True):
            snrs.append(self.snr + generator.uniform(-SNR_SPREAD, SNR_SPREAD))
            row[:length] = _of_level_1(self.recordings.piece(generator, length))
        # The library takes the level over the padding too, which is lower by this factor.
        padding = [10 * np.log10(waveforms.shape[1] / length) for length in lengths]
        snr_in_db = torch.tensor(np.subtract(snrs, padding), dtype=torch.float32, device=waveforms.device)
        return {"background": torch.from_numpy(noise).to(waveforms.device), "snr_in_db": snr_in_db}


class WhiteNoise(OwnTransform):
    """Gaussian noise.

    Args:
        amplitude: standard deviation, full scale is 1; drawn evenly from a half of it to one and a half.
        snr: in its place: dB over the true length, the mean of the draws.
    """

    name = "white_noise"

    def __init__(self, probability: float, strength: float, amplitude: float | None, snr: float | None) -> None:
        super().__init__(probability, strength)
        self.amplitude = None if amplitude is None else amplitude * strength
        self.snr = None if snr is None else _weakened(snr, strength)

    def parameters(self, generators: list[Generator], waveforms: Tensor, lengths: list[int]) -> Parameters:
        """Draw noise to add, (B, T)."""
        noise = np.zeros((len(lengths), waveforms.shape[1]), np.float32)
        factors = np.empty(len(lengths), np.float32)
        for index, (generator, length) in enumerate(zip(generators, lengths, strict=True)):
            if self.amplitude is not None:
                factors[index] = self.amplitude * generator.uniform(0.5, 1.5)
            else:
                assert self.snr is not None
                factors[index] = 10 ** (-(self.snr + generator.uniform(-SNR_SPREAD, SNR_SPREAD)) / 20)
            noise[index, :length] = generator.standard_normal(length, dtype=np.float32)
        scale = torch.from_numpy(factors).to(waveforms.device)[:, None]
        if self.amplitude is None:
            scale = scale * _levels(waveforms, lengths)[:, None]
        return {"noise": torch.from_numpy(noise).to(waveforms.device) * scale}

    def changed(self, waveforms: Tensor) -> Tensor:
        """Return the waveforms with the noise."""
        noise: Tensor = self.transform_parameters["noise"]
        return waveforms + noise


def _result(samples: Tensor, sample_rate: int | None) -> ObjectDict:
    return ObjectDict(samples=samples, sample_rate=sample_rate, targets=None, target_rate=None)


def _within(lengths: Sequence[int], longest: int, device: torch.device) -> Tensor:
    """Return (B, T) bool: where the utterances are."""
    return torch.arange(longest, device=device) < torch.tensor(lengths, device=device)[:, None]


def _levels(waveforms: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return (B,) root mean squares over the true lengths."""
    return (waveforms.square().sum(1) / torch.tensor(lengths, device=waveforms.device)).sqrt()


def _of_level_1(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return samples / np.float32(level) if level else samples


def _of_energy_1(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    energy = float(np.sqrt(np.sum(np.square(samples, dtype=np.float64))))
    return samples / np.float32(energy) if energy else np.array(samples)


def _weakened(snr: float, strength: float) -> float:
    """Return the SNR of noise whose amplitude is scaled by the strength."""
    return snr - 20 * float(np.log10(strength))
