"""Log-mel features in batches on any device, of the kind that a checkpoint's own preprocessor describes.

Dimensions: B batch, T audio samples, M mel bins, F frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import WhisperFeatureExtractor

from raywce.precision import computing

SILENCE = -10.0  # log10 of the smallest power that Whisper tells from none, 1e-10
DYNAMIC_RANGE = 8.0  # log10 units below an utterance's loudest bin


def pad_waveforms(waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
    """Stack utterances of different lengths into (B, T) float32, zeros behind each."""
    longest = max((len(waveform) for waveform in waveforms), default=0)
    out = torch.zeros(len(waveforms), longest)
    for row, waveform in zip(out, waveforms, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform)
    return out


class LogMel(torch.nn.Module):
    """Log-mel features of `WhisperFeatureExtractor` within 1e-4, but batched, on the device, no work on padding."""

    window: Tensor
    filters: Tensor

    def __init__(self, extractor: WhisperFeatureExtractor) -> None:
        super().__init__()
        self.n_fft: int = extractor.n_fft
        self.hop_length: int = extractor.hop_length
        self.n_samples: int = extractor.n_samples
        self.n_frames: int = extractor.n_samples // extractor.hop_length
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        filters = torch.as_tensor(np.asarray(extractor.mel_filters), dtype=torch.float32)
        self.register_buffer("filters", filters.T.contiguous(), persistent=False)

    @classmethod
    def from_checkpoint(cls, checkpoint: str, revision: str | None = None) -> LogMel:
        """Read bins, hop and window from the checkpoint's preprocessor config (80 bins, large-v3: 128)."""
        return cls(WhisperFeatureExtractor.from_pretrained(checkpoint, revision=revision or "main"))

    def forward(self, waveforms: Tensor, frames: int | None = None) -> Tensor:
        """Return the (B, M, F) float32 features of (B, T) float32 audio.

        Args:
            waveforms: at most as long as the frames.
            frames: how many of the window's there are to be, from its start; None: all (30 s).

        Raises:
            ValueError: for longer audio, since cutting it would leave its text without audio.
        """
        frames = self.n_frames if frames is None else frames
        length, room = waveforms.shape[-1], frames * self.hop_length
        if length > room:
            raise ValueError(f"audio must be at most {room} samples long, but got {length}")
        with computing("fp32", waveforms.device):  # half precision would be off by 0.004
            return self._log_mel(waveforms, frames)

    def _log_mel(self, waveforms: Tensor, frames: int) -> Tensor:
        length = waveforms.shape[-1]
        # Behind the last sample and one window every frame is silence: it is filled in, not computed.
        hops = min(-(-(length + 2 * self.n_fft) // self.hop_length), self.n_frames)
        padded = functional.pad(waveforms, (0, hops * self.hop_length - length))
        spectrum = torch.stft(padded, self.n_fft, self.hop_length, window=self.window, return_complex=True)
        power = spectrum[..., :-1].abs().square().contiguous()
        log_mel = torch.clamp(self.filters @ power, min=1e-10).log10()
        # The loudest bin may lie behind a shorter context: each frame is what it is in the whole window.
        loudest = log_mel.amax(dim=(1, 2), keepdim=True)
        log_mel = functional.pad(log_mel[..., :frames], (0, max(0, frames - hops)), value=SILENCE)
        return (torch.maximum(log_mel, loudest - DYNAMIC_RANGE) + 4.0) / 4.0

    def of(self, waveforms: Sequence[NDArray[np.float32]], frames: int | None = None) -> Tensor:
        """Return the features of separate utterances, on the device that the module is on."""
        with torch.no_grad():
            features: Tensor = self(pad_waveforms(waveforms).to(self.window.device), frames)
        return features
