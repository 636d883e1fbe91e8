"""Augmentation of the utterances of a batch that have a key, by one transform after the other.

Dimensions: B batch, T samples, M mel bins, F frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from raywce.augmentation.keys import DrawKey
from raywce.augmentation.spec_augment import SpecAugment
from raywce.augmentation.transforms import Transform
from raywce.data.schema import SAMPLE_RATE
from raywce.precision import products


@dataclass(frozen=True)
class Augmenter:
    """Waveforms to features, with the augmentation in between.

    Attributes:
        transforms: of waveforms, in the order in which they act.
        spec_augment: masks of the features; None: none.
        seed: of the training.
        hop_length: samples from one feature frame to the next.
    """

    transforms: Sequence[Transform]
    spec_augment: SpecAugment | None
    seed: int
    hop_length: int = 160

    def keys(self, epochs: Sequence[int], copies: Sequence[int], ids: Sequence[str]) -> list[DrawKey | None]:
        """Return the key of each utterance that is drawn as an augmented copy; None for one that is not (copy 0)."""
        draws = zip(epochs, copies, ids, strict=True)
        return [DrawKey(self.seed, epoch, copy, id_) if copy else None for epoch, copy, id_ in draws]

    def features(
        self,
        waveforms: Tensor,
        lengths: Sequence[int],
        keys: Sequence[DrawKey | None],
        log_mel: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Return the (B, M, F) features of utterances, those with a key augmented.

        Args:
            waveforms: (B, T) float32, zeros behind each utterance, on the device.
            lengths: B true lengths, samples.
            keys: B keys; None: as recorded.
            log_mel: (B, T) audio → (B, M, F) features.
        """
        augmented, new_lengths = self.waveforms(waveforms, lengths, keys)
        features = log_mel(augmented)
        if self.spec_augment is None:
            return features
        frames = [min(features.shape[-1], -(-length // self.hop_length)) for length in new_lengths]
        return self.spec_augment(features, frames, keys)

    def waveforms(
        self, waveforms: Tensor, lengths: Sequence[int], keys: Sequence[DrawKey | None]
    ) -> tuple[Tensor, list[int]]:
        """Augment the utterances that have a key; the others stay as they are, to the bit.

        Args:
            waveforms: (B, T) float32, zeros behind each utterance; left as it is.
            lengths: B true lengths, samples.
            keys: B keys; None: as recorded.

        Returns:
            waveforms: (B, T') float32, as wide as needed; and the B lengths.
        """
        rows = [row for row, key in enumerate(keys) if key]
        if not rows or not self.transforms:
            return waveforms, list(lengths)
        with products("fp32"):  # resampling is a convolution
            chosen, own = self._chain(
                waveforms[rows], [lengths[row] for row in rows], [key for key in keys if key is not None]
            )
        new_lengths = list(lengths)
        for row, length in zip(rows, own, strict=True):
            new_lengths[row] = length
        out = _resized(waveforms, max(new_lengths)).clone()
        out[rows] = _resized(chosen, out.shape[1])
        return out, new_lengths

    def _chain(self, waveforms: Tensor, lengths: list[int], keys: list[DrawKey]) -> tuple[Tensor, list[int]]:
        waveforms = _resized(waveforms, max(lengths))
        for transform in self.transforms:
            new_lengths = transform.draw(keys, waveforms, lengths)
            if transform.changes_any:
                room = _resized(waveforms, max(*lengths, *new_lengths))
                waveforms = transform(room[:, None], sample_rate=SAMPLE_RATE).samples[:, 0]
                lengths, waveforms = new_lengths, waveforms[:, : max(new_lengths)]
        return waveforms, lengths


def _resized(waveforms: Tensor, longest: int) -> Tensor:
    """Return the waveforms, their time axis cut or padded to `longest`."""
    width = waveforms.shape[1]
    return waveforms[:, :longest] if longest <= width else functional.pad(waveforms, (0, longest - width))
