"""Greedy decoding with Whisper's decoder: batches join, and sequences leave, while the others continue.

Equal to transformers' `generate` without beams, sampling and time stamps. All sequences go through the layers together,
so that weights are read once a token; each batch attends with its own keys and values, at its own position. Keys and
values of the text are written into room that is there from the start; those of the audio are computed once.

Dimensions: B batch, N all sequences at once, T positions at once, S positions of the encoder, H heads, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from raywce.data.context import FRAMES_A_POSITION
from raywce.evaluation.loops import is_endless
from raywce.precision import computing

if TYPE_CHECKING:
    from transformers import WhisperForConditionalGeneration
    from transformers.models.whisper.modeling_whisper import WhisperAttention, WhisperDecoderLayer, WhisperEncoder

KeysAndValues = tuple[Tensor, Tensor]

_ENCODING = Lock()  # an encoder follows its input's context: a thread at a time
_POSITIONS_ON_CPU = 3200  # of the encoder: two whole windows, or eight of the shorter ones
_LEAVE_AT = 0.25  # share of a batch that has ended: then the others continue without it, which copies what is kept


@dataclass(frozen=True)
class Batch:
    """Sequences that begin together.

    Attributes:
        encoded: (B, S, D) encoder output.
        prompts: (B, T) tokens in front, on the same device.
        bounds: B limits on new tokens, the end token included.
    """

    encoded: Tensor
    prompts: Tensor
    bounds: Sequence[int]


@dataclass(frozen=True)
class Decoded:
    """What became of a batch.

    Attributes:
        number: of the batch, in the order in which they came.
        tokens: B lists of new tokens, with the end token where it was reached, and shorter than the bound without it
            where a loop was stopped.
        likeliest: B places in `identify`; None where it is empty.
    """

    number: int
    tokens: list[list[int]]
    likeliest: list[int] | None


def decode(
    model: WhisperForConditionalGeneration,
    batches: Iterable[Batch],
    room: int,
    *,
    stop_loops: bool = False,
    identify: Sequence[int] = (),
    look_every: int = 1,
) -> Iterator[Decoded]:
    """Decode each sequence to the end token or its own bound; yield a batch once its last sequence has ended.

    Args:
        model: in evaluation mode.
        batches: taken one by one, when there is room.
        room: the next batch joins while those that are decoded have fewer positions of the encoder.
        stop_loops: also end a sequence that repeats a phrase without end (`raywce.evaluation.loops.is_endless`).
        identify: tokens, such as those of languages, of which the likeliest behind the prompt's first is found.
        look_every: tokens from one look at what has ended to the next. Tokens are the same with any: what was chosen
            behind an end is cut off. On a GPU each look waits for it.
    """
    decoder, waiting, joined = _Decoder(model, identify), iter(batches), 0
    groups: list[_Group] = []
    newest = torch.empty(0, dtype=torch.long, device=model.device)  # (N,)
    while True:
        while sum(group.positions for group in groups) < room and (batch := next(waiting, None)) is not None:
            group, first = decoder.begin(joined, batch)
            groups, newest, joined = [*groups, group], torch.cat([newest, first]), joined + 1
        if not groups:
            return
        chosen = [newest]
        while len(chosen) < min(look_every, *(group.left for group in groups)):
            chosen.append(decoder.step(groups, chosen[-1]))
        columns = iter(torch.stack(chosen, dim=1).tolist())
        kept: list[bool] = []
        for group in groups:
            start = len(kept)
            kept += group.take([next(columns) for _ in group.rows], model.generation_config.eos_token_id, stop_loops)
            if not any(kept[start:]):
                yield group.decoded()
        groups = [group for group in groups if group.rows]
        newest = chosen[-1] if all(kept) else chosen[-1][[place for place, stays in enumerate(kept) if stays]]
        if groups:
            newest = decoder.step(groups, newest)


class _Group:
    """A batch on its way: its sequences' new tokens, and their keys and values."""

    def __init__(
        self, number: int, bounds: Sequence[int], audio: list[KeysAndValues], own: list[KeysAndValues]
    ) -> None:
        self.number, self.bounds, self.audio, self.own = number, bounds, audio, own
        self.width = 0  # positions of the text so far
        self.rows = list(range(len(bounds)))  # those still there, ended or not
        self.likeliest: Tensor | None = None
        self._tokens: list[list[int]] = [[] for _ in bounds]
        self._ended = [False] * len(bounds)

    @property
    def positions(self) -> int:
        """Return the positions of the encoder that it holds."""
        return len(self.rows) * self.audio[0][0].shape[2]

    @property
    def left(self) -> int:
        """Return how many tokens the sequence with the most may still have."""
        return max(self.bounds[row] - len(self._tokens[row]) for row in self.rows if not self._ended[row])

    def take(self, columns: Sequence[Sequence[int]], end: int, stop_loops: bool) -> list[bool]:
        """Add tokens of each row, up to its end; return which rows stay."""
        for row, column in zip(self.rows, columns, strict=True):
            tokens, bound = self._tokens[row], self.bounds[row]
            for token in column:
                if self._ended[row]:
                    break
                tokens.append(token)
                self._ended[row] = token == end or len(tokens) >= bound or (stop_loops and is_endless(tokens, bound))
        stay = [not self._ended[row] for row in self.rows]
        if any(stay) and stay.count(False) < _LEAVE_AT * len(stay):
            return [True] * len(stay)
        places = [place for place, stays in enumerate(stay) if stays]
        self.rows = [self.rows[place] for place in places]
        if places:
            self.audio, self.own = (
                [(keys[places], values[places]) for keys, values in layers] for layers in (self.audio, self.own)
            )
        return stay

    def extended(self, layer: int, new: KeysAndValues) -> KeysAndValues:
        """Write the text's newest keys and values, (B, H, T, D / H); return all of them so far."""
        stop = self.width + new[0].shape[2]
        for kept, one in zip(self.own[layer], new, strict=True):
            kept[:, :, self.width : stop] = one
        keys, values = self.own[layer]
        return keys[:, :, :stop], values[:, :, :stop]

    def decoded(self) -> Decoded:
        return Decoded(self.number, self._tokens, None if self.likeliest is None else self.likeliest.tolist())


class _Decoder:
    """Whisper's decoder over several groups, and what is chosen behind it."""

    def __init__(self, model: WhisperForConditionalGeneration, identify: Sequence[int]) -> None:
        self.model, self.decoder = model, model.get_decoder()
        config = model.generation_config

        def on_device(tokens: Sequence[int] | None) -> Tensor:
            return torch.tensor(tokens or [], dtype=torch.long, device=model.device)

        self.never, self.never_first = on_device(config.suppress_tokens), on_device(config.begin_suppress_tokens)
        self.identify = on_device(identify)

    def begin(self, number: int, batch: Batch) -> tuple[_Group, Tensor]:
        """Return the group of a batch behind its prompts, and its (B,) first tokens."""
        audio = [
            (_keys_or_values(one, one.k_proj, batch.encoded), _keys_or_values(one, one.v_proj, batch.encoded))
            for one in (layer.encoder_attn for layer in self.decoder.layers)
        ]
        room = min(batch.prompts.shape[1] + max(batch.bounds), self.model.config.max_target_positions)
        count, heads, _, size = audio[0][0].shape
        own = [
            (keys.new_empty(count, heads, room, size), keys.new_empty(count, heads, room, size)) for keys, _ in audio
        ]
        group = _Group(number, batch.bounds, audio, own)
        states = self._advance([group], batch.prompts)
        if len(self.identify):
            group.likeliest = self._scores(states[:, 0])[:, self.identify].argmax(dim=-1)
        return group, self._choose(states, torch.cat([self.never, self.never_first]))

    def step(self, groups: Sequence[_Group], tokens: Tensor) -> Tensor:
        """Return the (N,) tokens behind (N,) tokens of all groups."""
        return self._choose(self._advance(groups, tokens[:, None]), self.never)

    def _choose(self, states: Tensor, forbidden: Tensor) -> Tensor:
        return self._scores(states[:, -1]).index_fill_(1, forbidden, -torch.inf).argmax(dim=-1)

    def _scores(self, states: Tensor) -> Tensor:
        """Return (N, vocabulary) float32 scores of (N, D) states: rounded ones tie, and who is beside would decide."""
        with computing("fp32", states.device):
            scores: Tensor = self.model.proj_out(states.to(self.model.proj_out.weight.dtype))
        return scores

    def _advance(self, groups: Sequence[_Group], tokens: Tensor) -> Tensor:
        """Return the (N, T, D) last states of (N, T) next tokens."""
        length, of_positions = tokens.shape[1], self.decoder.embed_positions.weight
        positions = [of_positions[one.width : one.width + length].expand(len(one.rows), -1, -1) for one in groups]
        hidden = self.decoder.embed_tokens(tokens) + torch.cat(positions)
        for number, layer in enumerate(self.decoder.layers):
            hidden = self._layer(number, layer, hidden, groups)
        for group in groups:
            group.width += length
        last: Tensor = self.decoder.layer_norm(hidden)
        return last

    def _layer(self, number: int, layer: WhisperDecoderLayer, hidden: Tensor, groups: Sequence[_Group]) -> Tensor:
        sizes = [len(group.rows) for group in groups]
        normed, own = layer.self_attn_layer_norm(hidden), layer.self_attn
        new = (torch.split(_heads(own, projection(normed)), sizes) for projection in (own.k_proj, own.v_proj))
        extended = [group.extended(number, pair) for group, pair in zip(groups, zip(*new, strict=True), strict=True)]
        hidden = hidden + _attend(own, normed, extended, causal=normed.shape[1] > 1)
        normed = layer.encoder_attn_layer_norm(hidden)
        hidden = hidden + _attend(layer.encoder_attn, normed, [group.audio[number] for group in groups])
        fed: Tensor = layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden))))
        return hidden + fed


def encoded(encoder: WhisperEncoder, features: Tensor) -> Tensor:
    """Return the (B, S, D) states of log-mel features (B, mel bins, frames); safe to call from threads."""
    with _ENCODING:
        return _in_parts(lambda part: encoder(part).last_hidden_state, features, features.shape[2] // FRAMES_A_POSITION)


def _in_parts(function: Callable[[Tensor], Tensor], batch: Tensor, positions: int) -> Tensor:
    """Return a function's output for a batch; a CPU takes few rows at once, whose activations stay in its caches.

    Args:
        function: of some of the rows.
        batch: (B, ...).
        positions: of the encoder, in each row.
    """
    size = max(1, _POSITIONS_ON_CPU // positions) if batch.device.type == "cpu" else len(batch)
    return torch.cat([function(part) for part in torch.split(batch, size)])


def _keys_or_values(attention: WhisperAttention, projection: torch.nn.Linear, encoded: Tensor) -> Tensor:
    return _in_parts(lambda part: _heads(attention, projection(part)), encoded, encoded.shape[1])


def _heads(attention: WhisperAttention, projected: Tensor) -> Tensor:
    """Return (B, H, T, D / H) of (B, T, D), head by head in memory: what is read again and again is read in a row."""
    return projected.view(*projected.shape[:2], attention.num_heads, -1).transpose(1, 2).contiguous()


def _attend(
    attention: WhisperAttention, hidden: Tensor, of_groups: Sequence[KeysAndValues], causal: bool = False
) -> Tensor:
    # Scaled before the product, as transformers does it: texts are the same to the rounding.
    queries = _heads(attention, attention.q_proj(hidden) * attention.scaling)
    parts = torch.split(queries, [len(keys) for keys, _ in of_groups])
    mixed = [_mixed(part, *pair, causal) for part, pair in zip(parts, of_groups, strict=True)]
    together = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
    out: Tensor = attention.out_proj(together.transpose(1, 2).flatten(2))
    return out


def _mixed(queries: Tensor, keys: Tensor, values: Tensor, causal: bool) -> Tensor:
    """Return (B, H, T, D / H) values, mixed by the scaled queries."""
    if queries.device.type == "cpu" and not causal:  # for few queries far faster than the CPU's kernel, in bf16 most
        return (queries @ keys.transpose(2, 3)).softmax(dim=-1) @ values
    return functional.scaled_dot_product_attention(queries, keys, values, is_causal=causal, scale=1.0)
