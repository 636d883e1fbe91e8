import pytest
import torch
from torch.nn import functional

from raywce.data.labels import IGNORED
from raywce.loss import utterance_losses, utterance_weights, weighted_loss
from raywce.weighting import AlphaSchedule


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(4, 6, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def labels() -> torch.Tensor:
    labels = torch.randint(0, 11, (4, 6), generator=torch.Generator().manual_seed(1))
    for row, length in enumerate((6, 2, 4, 5)):
        labels[row, length:] = IGNORED
    return labels


def losses_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of states that are the logits already: each token's own axis is its projection."""
    return utterance_losses(logits, torch.eye(logits.shape[-1], dtype=logits.dtype), labels)


LANGUAGES = ["gl", "es", "gl", "en"]
COUNTS = {"gl": 2, "es": 1, "en": 1}
TOKENS = 17


def test_weight_1_is_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> None:
    weights = utterance_weights(LANGUAGES, {"gl": 1.0}, "utterance", COUNTS)
    loss = weighted_loss(losses_of(logits, labels), weights, TOKENS, ranks=1)
    expected = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_only_low_resource_tokens_are_weighted(logits: torch.Tensor, labels: torch.Tensor) -> None:
    weights = utterance_weights(LANGUAGES, {"gl": 3.0}, "utterance", COUNTS)
    loss = weighted_loss(losses_of(logits, labels), weights, TOKENS, ranks=1)
    tokens = functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    expected = (tokens * torch.tensor([3.0, 1.0, 3.0, 1.0])[:, None]).sum() / TOKENS
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_each_low_resource_language_has_its_own_alpha() -> None:
    weights = utterance_weights(["gl", "ast", "es"], {"gl": 2.0, "ast": 4.0}, "utterance", {"gl": 1, "ast": 1, "es": 1})
    assert weights == [2.0, 4.0, 1.0]


def test_batch_scope_is_the_released_scripts_linear_progressive_loss(
    logits: torch.Tensor, labels: torch.Tensor
) -> None:
    step, total = 75, 100
    alpha = AlphaSchedule(2.0, 5.0, 0.5, 1.0).alpha(step, total)
    # The script: a scalar cross-entropy, times a weight for each sample, then the mean over the samples.
    scalar = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    formula = 2.0 + (5.0 - 2.0) * (step - 50) / (total - 50)
    sample_weights = torch.tensor([formula if name == "gl" else 1.0 for name in LANGUAGES], dtype=torch.float64)
    expected = (scalar * sample_weights).mean()
    weights = utterance_weights(LANGUAGES, {"gl": alpha}, "batch", COUNTS)
    loss = weighted_loss(losses_of(logits, labels), weights, TOKENS, ranks=1)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_low_precision_logits_are_summed_in_float32(logits: torch.Tensor, labels: torch.Tensor) -> None:
    half = logits.to(torch.bfloat16)
    losses = losses_of(half, labels)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, losses_of(half.float(), labels))


def test_the_end_token_counts_though_padding_has_its_id(logits: torch.Tensor) -> None:
    end = 7
    labels = torch.full((1, 6), IGNORED)
    labels[0, :2] = torch.tensor([3, end])
    expected = functional.cross_entropy(logits[0, :2], torch.tensor([3, end]), reduction="sum")
    torch.testing.assert_close(losses_of(logits[:1], labels)[0], expected)
