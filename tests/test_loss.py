from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional

from raywce.data.labels import IGNORED
from raywce.loss import counted_positions, token_losses, utterance_losses, utterance_weights, weighted_loss
from raywce.weighting import AlphaSchedule, LossSums, alphas_in_force


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
    return utterance_losses(logits, torch.eye(logits.shape[-1], dtype=logits.dtype), labels, counted_positions(labels))


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


def released_dynamic(losses: torch.Tensor, tokens: list[int], is_low: list[bool], alpha: float) -> tuple[float, float]:
    """The script's dynamic loss from hand-made sums of token losses, and the weight that it came to.

    One scalar cross-entropy, times one weight as soon as a single utterance is a low-resource one. (The script cuts the
    token losses into chunks of the wrong length for the ratio, a defect; here each utterance has its own.)
    """
    low, high = (
        sum(float(loss) for loss, of in zip(losses, is_low, strict=True) if of is wanted)
        / sum(count for count, of in zip(tokens, is_low, strict=True) if of is wanted)
        for wanted in (True, False)
    )
    weight = 1.0 if alpha * low / high < 1.0 else max(alpha, low / high)
    return float(losses.sum()) / sum(tokens) * weight, weight


@pytest.mark.parametrize("low_loss", [0.5, 24.0, 60.0])  # the gate closed, alpha in force, the ratio in force
def test_batch_scope_is_the_released_scripts_dynamic_loss(low_loss: float) -> None:
    languages, alpha = ["gl"] + ["es"] * 7, 1.5
    losses = torch.tensor([low_loss] + [20.0] * 7, dtype=torch.float64)
    tokens = [2] * 8
    expected, weight = released_dynamic(losses, tokens, [name == "gl" for name in languages], alpha)
    sums = LossSums(low_loss, 2, 140.0, 14)
    alphas = alphas_in_force({"gl": AlphaSchedule(alpha, alpha, adaptive=True)}, 0, 10, sums)
    assert alphas["gl"] == weight
    # The weights of a micro-batch without a low-resource utterance are those of the whole batch all the same.
    for own in (slice(0, 4), slice(4, 8)):
        weights = utterance_weights(languages[own], alphas, "batch", {"gl": 1, "es": 7}, adaptive=True)
        assert weights == [weight] * 4
    loss = weighted_loss(losses, [weight] * 8, sum(tokens), ranks=1)
    assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_batch_scope_with_an_adaptive_weight_takes_the_mean_of_several_low_resource_languages() -> None:
    alphas, counts = {"gl": 2.0, "ast": 4.0}, {"gl": 1, "ast": 3, "es": 4}
    assert utterance_weights(["es"], alphas, "batch", counts, adaptive=True) == [(2.0 + 3 * 4.0) / 4]
    assert utterance_weights(["es"], alphas, "batch", {"es": 8}, adaptive=True) == [1.0]


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


@pytest.fixture(params=[1, 3, 7, 1000])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Label tokens whose logits are there at once; there are 10."""
    monkeypatch.setattr("raywce.loss.CHUNK", request.param)
    return request.param


def projected(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ten states, a vocabulary of 23, labels, and a weight for each token."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(10, 8, generator=generator, dtype=torch.float64)
    vocabulary = torch.randn(23, 8, generator=generator, dtype=torch.float64)
    labels, weights = torch.arange(10) % 23, torch.rand(10, generator=generator, dtype=torch.float64)
    return hidden.to(dtype).requires_grad_(), vocabulary.to(dtype).requires_grad_(), labels, weights.to(dtype)


def with_gradients(losses: torch.Tensor, weights: torch.Tensor, *of: torch.Tensor) -> list[torch.Tensor]:
    return [losses.detach(), *torch.autograd.grad((losses * weights).sum(), of)]


def test_chunks_give_cross_entropy_and_its_gradients(chunk: int) -> None:
    hidden, vocabulary, labels, weights = projected(torch.float64)
    got = with_gradients(token_losses(hidden, vocabulary, labels), weights, hidden, vocabulary)
    logits = hidden @ vocabulary.T
    expected = functional.cross_entropy(logits, labels, reduction="none")
    for one, other in zip(got, with_gradients(expected, weights, hidden, vocabulary), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_chunks_under_autocast_are_the_full_logits_but_for_rounding(chunk: int, dtype: torch.dtype) -> None:
    hidden, vocabulary, labels, weights = projected(torch.float32)
    with torch.autocast("cpu", dtype):
        losses = token_losses(hidden, vocabulary, labels)
        full = functional.cross_entropy(functional.linear(hidden, vocabulary), labels, reduction="none")
    assert losses.dtype == torch.float32
    got, expected = (with_gradients(one, weights, hidden, vocabulary) for one in (losses, full))
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)


def test_a_frozen_vocabulary_gets_no_gradient() -> None:
    hidden, vocabulary, labels, weights = projected(torch.float64)
    (token_losses(hidden, vocabulary.detach(), labels) * weights).sum().backward()
    assert hidden.grad is not None
    assert vocabulary.grad is None


def test_no_label_is_no_loss() -> None:
    hidden = torch.randn(2, 3, 8, requires_grad=True)
    labels = torch.full((2, 3), IGNORED)
    losses = utterance_losses(hidden, torch.randn(23, 8), labels, counted_positions(labels))
    losses.sum().backward()
    assert losses.tolist() == [0.0, 0.0]
    assert not hidden.grad.any()
