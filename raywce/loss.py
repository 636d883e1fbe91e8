"""The weighted cross-entropy of a global batch, over all ranks and accumulation steps.

The loss of a step is the sum of weight * token loss over the sum of tokens, both over the whole global batch
(arXiv 2409.16954, eq. 1-3). DDP averages gradients over ranks, so each rank's sum is multiplied by the number of ranks.

Dimensions: B batch, L label tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional

from raywce.data.labels import IGNORED


def utterance_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, L, V) logits of any float type and (B, L) labels → (B,) sums of token losses, float32 at least.

    Positions labelled `IGNORED` count nothing.
    """
    wide = logits.float() if logits.element_size() < 4 else logits
    losses = functional.cross_entropy(wide.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none")
    return losses.view(labels.shape).sum(dim=1)


def utterance_weights(
    languages: Sequence[str], alphas: Mapping[str, float], scope: str, utterances: Mapping[str, int]
) -> list[float]:
    """Each utterance's weight.

    Args:
        languages: of the utterances of a micro-batch.
        alphas: weight in force of each low-resource language; every other language has 1.
        scope: `utterance` weights the low-resource utterances (the method); `batch` gives all of them the mean weight
            of the global batch (the released script, which reduces the loss before it multiplies).
        utterances: utterances of each language in the global batch.
    """
    if scope == "batch":
        total = sum(utterances.values())
        mean = sum(alphas.get(language, 1.0) * count for language, count in utterances.items()) / total
        return [mean] * len(languages)
    return [alphas.get(language, 1.0) for language in languages]


def weighted_loss(losses: Tensor, weights: Sequence[float], tokens: int, ranks: int) -> Tensor:
    """This rank's and micro-batch's share of the step's loss, to call `backward` on.

    Args:
        losses: (B,) summed token losses.
        weights: B weights.
        tokens: label tokens of the global batch, over all ranks and accumulation steps.
        ranks: by which DDP will divide the gradients' sum.
    """
    return (losses * losses.new_tensor(weights)).sum() * (ranks / tokens)
