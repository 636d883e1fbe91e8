"""Changes of duration at the same pitch, and of pitch at the same duration, each utterance by its own amount.

A phase vocoder (Flanagan and Golden 1966; Laroche and Dolson 1999) on `torch.stft`, and resampling by small fractions.

Dimensions: B batch, T samples, N bins, F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import torch
import torchaudio
from torch import Tensor
from torch.nn import functional

N_FFT = 1024  # 64 ms at 16 kHz
HOP = N_FFT // 4
_LARGEST_DENOMINATOR = 128  # a pitch is at most 7 cents off, and kernels are few
_KERNELS = 512


def stretch(waveforms: Tensor, lengths: Sequence[int], new_lengths: Sequence[int]) -> Tensor:
    """Bring each utterance to its new length, its pitch as it was.

    Args:
        waveforms: (B, T) float32, zeros behind each utterance.
        lengths: B true lengths, samples.
        new_lengths: B wanted lengths, samples.

    Returns:
        waveforms: (B, longest new length) float32, zeros behind each utterance.
    """
    rates = torch.tensor([old / new for old, new in zip(lengths, new_lengths, strict=True)], device=waveforms.device)
    longest = max(new_lengths)
    window = torch.hann_window(N_FFT, device=waveforms.device)
    # Room behind, so that an utterance's last frames are there, whichever utterances it is with.
    padded = functional.pad(waveforms, (0, N_FFT))
    spectrum = torch.stft(padded, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)
    stretched = _at_other_times(spectrum.transpose(1, 2), rates, frames=-(-(longest + N_FFT) // HOP))
    weight = _overlapped(window.square().expand(1, stretched.shape[1], N_FFT))
    inner = slice(N_FFT // 2, N_FFT // 2 + longest)
    out = _overlapped(torch.fft.irfft(stretched, N_FFT) * window)[:, inner] / weight[:, inner]
    return out * (torch.arange(longest, device=out.device) < torch.tensor(new_lengths, device=out.device)[:, None])


def shift_pitch(waveforms: Tensor, lengths: Sequence[int], semitones: Sequence[float]) -> Tensor:
    """Move each utterance's pitch, its length as it was.

    Args:
        waveforms: (B, T) float32, zeros behind each utterance.
        lengths: B true lengths, samples.
        semitones: B shifts, up or down; met within 7 cents.

    Returns:
        waveforms: (B, T) float32, zeros behind each utterance.
    """
    ratios = [Fraction(2 ** (shift / 12)).limit_denominator(_LARGEST_DENOMINATOR) for shift in semitones]
    longer = [-(-length * ratio.numerator // ratio.denominator) for length, ratio in zip(lengths, ratios, strict=True)]
    out = torch.zeros_like(waveforms)
    for row, source, length, ratio, size in zip(
        out, stretch(waveforms, lengths, longer), lengths, ratios, longer, strict=True
    ):
        row[:length] = _resampled(source[:size], ratio)[:length]
    return out


def _at_other_times(spectrum: Tensor, rates: Tensor, frames: int) -> Tensor:
    """Return (B, frames, N) of (B, F, N) complex: frame k is that at time k · rate, its phase carried on from k - 1."""
    times = torch.arange(frames, device=rates.device) * rates[:, None]
    last = spectrum.shape[1] - 2
    before = times.long().clamp(max=last)
    share = (times - before).clamp(max=1.0)[..., None]
    rows = torch.arange(len(rates), device=rates.device)[:, None]
    # Real and contiguous: the angle of complex numbers is twenty times slower on a CPU.
    real, imaginary = spectrum.real.contiguous(), spectrum.imag.contiguous()
    level = torch.hypot(real, imaginary)
    levels = torch.lerp(level[rows, before], level[rows, before + 1], share)
    # From one frame to the next the phase turns as it did between the two source frames around it.
    angle = torch.atan2(imaginary, real)
    turns = angle[:, 1:] - angle[:, :-1]
    phases = torch.cat([angle[:, :1], turns[rows, before[:, :-1]]], dim=1).cumsum(1)
    return torch.complex(levels * phases.cos(), levels * phases.sin())


def _overlapped(frames: Tensor) -> Tensor:
    """Return (B, (F + 3) · HOP) of (B, F, N_FFT): each frame added in a hop behind the one before."""
    batch, count, _ = frames.shape
    turns = N_FFT // HOP
    out = frames.new_zeros(batch, count + turns - 1, HOP)
    for turn, part in enumerate(frames.view(batch, count, turns, HOP).unbind(2)):
        out[:, turn : turn + count] += part
    return out.flatten(1)


def _resampled(waveform: Tensor, ratio: Fraction) -> Tensor:
    if ratio == 1:
        return waveform
    resampled: Tensor = _resampler(ratio.numerator, ratio.denominator, waveform.device)(waveform)
    return resampled


@lru_cache(maxsize=_KERNELS)
def _resampler(old: int, new: int, device: torch.device) -> torchaudio.transforms.Resample:
    return torchaudio.transforms.Resample(old, new, lowpass_filter_width=16).to(device)
