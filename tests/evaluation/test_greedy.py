"""The same tokens as transformers' `generate`, in each way that batches can join and sequences end."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from transformers.modeling_outputs import BaseModelOutput

from raywce.evaluation import greedy
from raywce.evaluation.greedy import Batch, decode
from raywce.evaluation.loops import is_endless
from raywce.model import load_model
from tests.evaluation.talking_whisper import write_talking_whisper

LANGUAGES = ["en", "es", "gl", "en", "es", "gl", "en", "es"]


pytestmark = pytest.mark.usefixtures("one_thread")


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


def decoded(model, states: torch.Tensor, bounds: list[int], **settings: Any) -> list[list[int]]:
    """All of LANGUAGES as one batch."""
    with torch.no_grad():
        (done,) = decode(model, [Batch(states, prompts(model), bounds)], 1, **settings)
    assert (done.number, done.likeliest) == (0, None)
    return done.tokens


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
    tokens = decoded(model, states, [limit] * len(LANGUAGES))
    assert tokens == generated(model, states, limit)
    assert len({len(row) for row in tokens}) > 1, "they end one after the other"


def test_each_sequence_has_its_own_bound(model) -> None:
    states, limits = encoded(model, 3000), [1, 2, 3, 5, 8, 13, 21, 34]
    tokens = decoded(model, states, limits)
    assert tokens == [row[:limit] for row, limit in zip(generated(model, states, 34), limits, strict=True)]


@pytest.mark.parametrize("look_every", [2, 8, 100])
def test_how_often_is_looked_does_not_matter(model, look_every: int) -> None:
    states, longest = encoded(model, 600), model.config.max_target_positions - 4
    for bounds in ([1, 2, 3, 5, 8, 13, 21, 34], [longest] * len(LANGUAGES)):
        assert decoded(model, states, bounds, look_every=look_every) == decoded(model, states, bounds)


@pytest.mark.parametrize("look_every", [1, 8])
@pytest.mark.parametrize("room", [1, 2500, 10**9])
def test_batches_join_at_positions_and_contexts_of_their_own(model, room: int, look_every: int) -> None:
    frames, limits, taken = [3000, 600, 1200, 2], [40, 10, 25, 60], []

    def batches() -> Iterator[Batch]:
        for number, (length, limit) in enumerate(zip(frames, limits, strict=True)):
            taken.append(number)
            yield Batch(encoded(model, length), prompts(model), [limit] * len(LANGUAGES))

    done = {}
    with torch.no_grad():
        for one in decode(model, batches(), room, look_every=look_every):
            assert one.number in taken
            done[one.number] = one.tokens
            if room == 1:
                assert max(taken) == one.number, "there is room for no other before it has ended"
    expected = [generated(model, encoded(model, length), limit) for length, limit in zip(frames, limits, strict=True)]
    assert [done[number] for number in range(len(frames))] == expected


def test_the_likeliest_behind_the_first_token_of_the_prompt_is_found(model) -> None:
    states, tokens = encoded(model, 600), list(range(100, 200))
    with torch.no_grad():
        (done,) = decode(model, [Batch(states, prompts(model), [3] * len(LANGUAGES))], 1, identify=tokens)
        hidden = model.model.decoder(input_ids=prompts(model)[:, :1], encoder_hidden_states=states).last_hidden_state
        expected = model.proj_out(hidden)[:, 0, tokens].argmax(dim=-1)
    assert done.likeliest == expected.tolist()


class HostReads(TorchFunctionMode):
    """Counts what waits for a GPU: values that Python reads."""

    OF = ("tolist", "item", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.count += getattr(function, "__name__", "") in self.OF
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("look_every", [1, 8])
def test_values_are_read_once_a_look(model, look_every: int) -> None:
    states, longest = encoded(model, 600), 64
    with HostReads() as reads:
        tokens = decoded(model, states, [longest] * len(LANGUAGES), look_every=look_every)
    assert max(map(len, tokens)) == longest
    assert reads.count == longest / look_every


def test_suppressed_tokens_are_never_said_and_some_not_first(model) -> None:
    states, bounds = encoded(model, 600), [20] * len(LANGUAGES)
    before = decoded(model, states, bounds)
    config, once = model.generation_config, (list(model.generation_config.suppress_tokens), None)
    first, later = before[0][0], before[-1][1]
    config.suppress_tokens, config.begin_suppress_tokens = [*once[0], later], [first]
    try:
        tokens = decoded(model, states, bounds)
        assert tokens == generated(model, states, 20)
    finally:
        config.suppress_tokens, config.begin_suppress_tokens = once
    assert not any(later in row for row in tokens)
    assert tokens[0][0] != first


@pytest.mark.parametrize("look_every", [1, 7])
def test_a_loop_is_stopped_and_all_else_is_the_same(model, look_every: int) -> None:
    model = copy.deepcopy(model)
    model.model.decoder.embed_positions.weight.data *= 0.02  # hardly knows where it is, and so begins to repeat itself
    states, bounds = encoded(model, 600), [200 + 10 * row for row in range(len(LANGUAGES))]
    whole = decoded(model, states, bounds)
    stopped = decoded(model, states, bounds, stop_loops=True, look_every=look_every)
    ended_early = 0
    for full, short, bound in zip(whole, stopped, bounds, strict=True):
        assert full[: len(short)] == short
        endless = [is_endless(full[:end], bound) for end in range(1, len(full) + 1)]
        assert len(short) == (endless.index(True) + 1 if any(endless) else len(full))
        ended_early += len(short) < len(full)
    assert 0 < ended_early < len(LANGUAGES)


def test_scores_are_not_rounded_by_autocast(model) -> None:
    """Scores in bfloat16 tie by the dozen; which of them wins must not depend on the batch."""
    states, scores = encoded(model, 600), []
    hook = model.proj_out.register_forward_hook(lambda *call: scores.append(call[-1].clone()))
    with torch.autocast("cpu", torch.bfloat16):
        decoded(model, states, [20] * len(states))
    hook.remove()
    assert {one.dtype for one in scores} == {torch.float32}
    assert all((one != one.bfloat16()).float().mean() > 0.9 for one in scores)


def test_an_encoder_takes_features_of_several_lengths_from_several_threads(model) -> None:
    encoder = model.get_encoder()
    features = [
        torch.randn(2, 80, frames, generator=torch.Generator().manual_seed(frames)) for frames in (40, 120, 280)
    ]

    def states(number: int) -> torch.Tensor:
        with torch.no_grad():
            return greedy.encoded(encoder, features[number % 3])

    alone = [states(number) for number in range(3)]
    with ThreadPoolExecutor(4) as threads:
        for number, found in enumerate(threads.map(states, range(300))):
            assert torch.equal(found, alone[number % 3])
