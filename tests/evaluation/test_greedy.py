"""The same tokens as transformers' `generate`, in each way that a batch can end."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from raywce.evaluation.greedy import decode
from raywce.evaluation.loops import is_endless
from raywce.model import load_model
from tests.evaluation.talking_whisper import write_talking_whisper

LANGUAGES = ["en", "es", "gl", "en", "es", "gl", "en", "es"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    return load_model(str(write_talking_whisper(tmp_path_factory.mktemp("whisper")))).eval()


def encoded(model, frames: int) -> torch.Tensor:
    features = torch.randn(len(LANGUAGES), 80, frames, generator=torch.Generator().manual_seed(0))
    scale = torch.linspace(0.2, 4, len(LANGUAGES))[:, None, None]
    with torch.no_grad():
        return model.model.encoder(features * scale).last_hidden_state


def prompts(model) -> torch.Tensor:
    config = model.generation_config
    tail = [config.task_to_id["transcribe"], config.no_timestamps_token_id]
    start = config.decoder_start_token_id
    return torch.tensor([[start, config.lang_to_id[f"<|{code}|>"], *tail] for code in LANGUAGES])


def generated(model, states: torch.Tensor, limit: int) -> list[list[int]]:
    rows = model.generate(
        encoder_outputs=BaseModelOutput(states),
        language=LANGUAGES,
        task="transcribe",
        max_new_tokens=limit,
        force_unique_generate_call=True,
    )
    end = model.generation_config.eos_token_id
    new = [row[4:] for row in rows.tolist()]
    return [row[: row.index(end) + 1] if end in row else row for row in new]


@pytest.mark.parametrize("frames", [3000, 600, 2])
def test_equals_generate(model, frames: int) -> None:
    states, limit = encoded(model, frames), 60
    with torch.no_grad():
        tokens, _ = decode(model, states, prompts(model), [limit] * len(LANGUAGES))
    assert tokens == generated(model, states, limit)
    assert len({len(row) for row in tokens}) > 1, "they end one after the other"


def test_each_sequence_has_its_own_bound(model) -> None:
    states, limits = encoded(model, 3000), [1, 2, 3, 5, 8, 13, 21, 34]
    with torch.no_grad():
        tokens, _ = decode(model, states, prompts(model), limits)
    assert tokens == [row[:limit] for row, limit in zip(generated(model, states, 34), limits, strict=True)]


def test_suppressed_tokens_are_never_said_and_some_not_first(model) -> None:
    states, bounds = encoded(model, 600), [20] * len(LANGUAGES)
    with torch.no_grad():
        before, _ = decode(model, states, prompts(model), bounds)
    config, once = model.generation_config, (list(model.generation_config.suppress_tokens), None)
    first, later = before[0][0], before[-1][1]
    config.suppress_tokens, config.begin_suppress_tokens = [*once[0], later], [first]
    try:
        with torch.no_grad():
            tokens, _ = decode(model, states, prompts(model), bounds)
        assert tokens == generated(model, states, 20)
    finally:
        config.suppress_tokens, config.begin_suppress_tokens = once
    assert not any(later in row for row in tokens)
    assert tokens[0][0] != first


def test_a_loop_is_stopped_and_all_else_is_the_same(model) -> None:
    model = copy.deepcopy(model)
    model.model.decoder.embed_positions.weight.data *= 0.02  # hardly knows where it is, and so begins to repeat itself
    states, bounds = encoded(model, 600), [200 + 10 * row for row in range(len(LANGUAGES))]
    with torch.no_grad():
        whole, _ = decode(model, states, prompts(model), bounds)
        stopped, _ = decode(model, states, prompts(model), bounds, stop_loops=True)
    ended_early = 0
    for full, short, bound in zip(whole, stopped, bounds, strict=True):
        assert full[: len(short)] == short
        endless = [is_endless(full[:end], bound) for end in range(1, len(full) + 1)]
        assert len(short) == (endless.index(True) + 1 if any(endless) else len(full))
        ended_early += len(short) < len(full)
    assert 0 < ended_early < len(LANGUAGES)


def test_scores_are_not_rounded_by_autocast(model) -> None:
    """Scores in bfloat16 tie by the dozen; which of them wins must not depend on the batch."""
    states = encoded(model, 600)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        _, scores = decode(model, states, prompts(model), [20] * len(states))
    assert scores.dtype == torch.float32
    assert (scores != scores.bfloat16()).float().mean() > 0.9
