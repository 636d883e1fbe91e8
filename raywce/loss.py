"""The weighted cross-entropy of a global batch, over all ranks and accumulation steps.

The loss of a step is the sum of weight * token loss over the sum of tokens, both over the whole global batch
(arXiv 2409.16954, eq. 1-3). DDP averages gradients over ranks, so each rank's sum is multiplied by the number of ranks.

Dimensions: B batch, L label tokens, N label tokens of all utterances, D width of the decoder, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from raywce.data.labels import IGNORED

CHUNK = 256  # label tokens whose logits are there at once: 53 MB in float32 with Whisper's vocabulary


def counted_positions(labels: Tensor) -> Tensor:
    """Return the (N,) positions, in (B, L) labels as one row, of those that are not `IGNORED`.

    Where the labels are on a GPU, the host waits for it.
    """
    return (labels.flatten() != IGNORED).nonzero()[:, 0]


def utterance_losses(hidden: Tensor, vocabulary: Tensor, labels: Tensor, counted: Tensor) -> Tensor:
    """Return the (B,) sums of token losses, float32 at least; the host does not wait for a GPU.

    Args:
        hidden: (B, L, D) last states of the decoder.
        vocabulary: (V, D).
        labels: (B, L).
        counted: (N,) as of `counted_positions`, on the same device: the others are not projected.
    """
    losses = token_losses(hidden.flatten(0, 1)[counted], vocabulary, labels.flatten()[counted])
    return losses.new_zeros(labels.numel()).index_copy(0, counted, losses).view(labels.shape).sum(dim=1)


def token_losses(hidden: Tensor, vocabulary: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of a projection to the vocabulary, without its N × V logits: a chunk of them at a time.

    Args:
        hidden: (N, D).
        vocabulary: (V, D) weights of the projection, without bias.
        labels: (N,) int64.

    Returns:
        (N,) float32 losses, float64 for float64 input. Products are of autocast's dtype where it is on.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    losses: Tensor = _ProjectedCrossEntropy.apply(hidden, vocabulary, labels, dtype)
    return losses


class _ProjectedCrossEntropy(torch.autograd.Function):
    """Logits are computed chunk by chunk, and once more for the gradient where there are several chunks."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, vocabulary: Tensor, labels: Tensor, dtype: torch.dtype) -> Tensor:
        narrow = vocabulary.to(dtype)
        parts = []
        for states, own in _chunks(hidden, labels):
            logits = _logits(states.to(dtype), narrow)
            parts.append(torch.logsumexp(logits, dim=1) - logits.gather(1, own[:, None])[:, 0])
        ctx.save_for_backward(hidden, vocabulary, labels)
        ctx.dtype, ctx.only = dtype, logits if len(parts) == 1 else None
        return torch.cat(parts)

    @staticmethod
    @once_differentiable  # type: ignore[misc]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        hidden, vocabulary, labels = ctx.saved_tensors
        narrow = vocabulary.to(ctx.dtype)
        of_hidden = torch.empty_like(hidden)
        of_vocabulary: Tensor | None = None
        start = 0
        for states, own in _chunks(hidden, labels):
            part = slice(start, start + len(own))
            logits = ctx.only if ctx.only is not None else _logits(states.to(ctx.dtype), narrow)
            of_logits = torch.softmax(logits, dim=1)
            of_logits[torch.arange(len(own), device=own.device), own] -= 1.0
            of_narrow = of_logits.mul_(gradient[part, None]).to(ctx.dtype)
            of_hidden[part] = of_narrow @ narrow
            if ctx.needs_input_grad[1]:
                product = of_narrow.T @ states.to(ctx.dtype)
                # Added up in the vocabulary's own precision.
                of_vocabulary = product.to(vocabulary.dtype) if of_vocabulary is None else of_vocabulary.add_(product)
            start = part.stop
        return of_hidden, of_vocabulary, None, None


def _chunks(hidden: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(hidden, CHUNK), torch.split(labels, CHUNK), strict=True)


def _logits(states: Tensor, vocabulary: Tensor) -> Tensor:
    logits = states @ vocabulary.T
    return logits.float() if logits.element_size() < 4 else logits


def utterance_weights(
    languages: Sequence[str],
    alphas: Mapping[str, float],
    scope: str,
    utterances: Mapping[str, int],
    adaptive: bool = False,
) -> list[float]:
    """Return each utterance's weight.

    Args:
        languages: of the utterances of a micro-batch.
        alphas: weight in force of each low-resource language; every other language has 1.
        scope: `utterance` weights the low-resource utterances (the method); `batch` gives all utterances one weight,
            as the released script does, which multiplies the loss after it was reduced to one number: by the mean
            weight of the global batch, or, where the weight is adaptive, by the low-resource utterances' own weight
            (their mean, where they have several), however few they are.
        utterances: utterances of each language in the global batch.
        adaptive: whether the weight is gated by the loss ratio; it matters for `batch` alone.
    """
    if scope == "batch":
        counts = {language: n for language, n in utterances.items() if language in alphas} if adaptive else utterances
        total = sum(counts.values())
        scale = sum(alphas.get(language, 1.0) * n for language, n in counts.items()) / total if total else 1.0
        return [scale] * len(languages)
    return [alphas.get(language, 1.0) for language in languages]


def weighted_loss(losses: Tensor, weights: Sequence[float], tokens: int, ranks: int) -> Tensor:
    """Return this rank's and micro-batch's share of the step's loss, to call `backward` on.

    Args:
        losses: (B,) summed token losses.
        weights: B weights.
        tokens: label tokens of the global batch, over all ranks and accumulation steps.
        ranks: by which DDP will divide the gradients' sum.
    """
    return (losses * losses.new_tensor(weights)).sum() * (ranks / tokens)
