"""Greedy decoding of a batch with Whisper's decoder, position by position, each sequence to its own end.

Equal to transformers' `generate` without beams, sampling and time stamps. Keys and values are written into room that is
there from the start, those of the audio are computed once, and sequences that have ended leave the batch.

Dimensions: B batch, T positions at once, S positions of the encoder, H heads, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from raywce.evaluation.loops import is_endless
from raywce.precision import computing

if TYPE_CHECKING:
    from transformers import WhisperForConditionalGeneration
    from transformers.models.whisper.modeling_whisper import WhisperAttention, WhisperDecoderLayer

_LEAVE_AT = 0.25  # share of a batch that has ended: then the others continue without it, which copies what is kept


def decode(
    model: WhisperForConditionalGeneration,
    encoded: Tensor,
    prompts: Tensor,
    bounds: Sequence[int],
    stop_loops: bool = False,
) -> tuple[list[list[int]], Tensor]:
    """Decode to the end token, or to each sequence's own bound.

    Args:
        model: in evaluation mode.
        encoded: (B, S, D) encoder output.
        prompts: (B, T) tokens in front.
        bounds: B limits on new tokens, the end token included.
        stop_loops: also end a sequence that repeats a phrase without end (`raywce.evaluation.loops.is_endless`).

    Returns:
        B lists of new tokens, with the end token where it was reached, and shorter than the bound without it where a
        loop was stopped; and (B, vocabulary) scores behind the prompts' first token, which stand for the languages.
    """
    state = _DecoderState(model, encoded, prompts.shape[1] + max(bounds))
    config = model.generation_config
    never = list(config.suppress_tokens or [])
    forbidden = [*never, *(config.begin_suppress_tokens or [])]  # of the first token; `never` of the others
    states = state.advance(prompts)
    of_first = _scores(model, states[:, 0])
    out: list[list[int]] = [[] for _ in bounds]
    rows = list(range(len(out)))  # those in the batch, ended or not
    ended = [False] * len(rows)
    while True:
        scores = _scores(model, states[:, -1])
        scores[:, forbidden] = -torch.inf
        chosen = scores.argmax(dim=-1)
        forbidden = never
        for place, token in enumerate(chosen.tolist()):
            row = rows[place]
            if not ended[place]:
                out[row].append(token)
                ended[place] = token == config.eos_token_id or len(out[row]) >= bounds[row]
                ended[place] |= stop_loops and is_endless(out[row], bounds[row])
        if all(ended):
            return out, of_first
        if sum(ended) >= _LEAVE_AT * len(ended):
            kept = [place for place, gone in enumerate(ended) if not gone]
            state.keep(kept)
            rows, ended, chosen = [rows[place] for place in kept], [False] * len(kept), chosen[kept]
        states = state.advance(chosen[:, None])


def _scores(model: WhisperForConditionalGeneration, states: Tensor) -> Tensor:
    """Return (B, vocabulary) float32 scores of (B, D) states: rounded ones tie, and the batch's size would decide."""
    with computing("fp32", states.device):
        scores: Tensor = model.proj_out(states.to(model.proj_out.weight.dtype))
    return scores


class _DecoderState:
    """Keys and values of a batch, and the step that adds to them.

    Args:
        model: whose decoder it is.
        encoded: (B, S, D).
        room: positions at most.
    """

    def __init__(self, model: WhisperForConditionalGeneration, encoded: Tensor, room: int) -> None:
        self.decoder = model.get_decoder()
        self.room = min(room, model.config.max_target_positions)
        self.width = 0  # positions so far
        attentions = [layer.encoder_attn for layer in self.decoder.layers]
        self.audio = [(_heads(one, one.k_proj(encoded)), _heads(one, one.v_proj(encoded))) for one in attentions]
        self.own: list[tuple[Tensor, Tensor]] = []

    def advance(self, tokens: Tensor) -> Tensor:
        """Return the (B, T, D) last states of (B, T) next tokens."""
        positions = self.decoder.embed_positions.weight[self.width : self.width + tokens.shape[1]]
        hidden = self.decoder.embed_tokens(tokens) + positions
        for number, layer in enumerate(self.decoder.layers):
            hidden = self._layer(number, layer, hidden)
        self.width += tokens.shape[1]
        last: Tensor = self.decoder.layer_norm(hidden)
        return last

    def keep(self, places: list[int]) -> None:
        """Keep some sequences of the batch and drop the others."""
        self.audio = [(keys[places], values[places]) for keys, values in self.audio]
        self.own = [(keys[places], values[places]) for keys, values in self.own]

    def _layer(self, number: int, layer: WhisperDecoderLayer, hidden: Tensor) -> Tensor:
        normed = layer.self_attn_layer_norm(hidden)
        keys, values = self._extended(number, layer.self_attn, normed)
        hidden = hidden + _attend(layer.self_attn, normed, keys, values, causal=normed.shape[1] > 1)
        normed = layer.encoder_attn_layer_norm(hidden)
        hidden = hidden + _attend(layer.encoder_attn, normed, *self.audio[number])
        fed: Tensor = layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden))))
        return hidden + fed

    def _extended(self, number: int, attention: WhisperAttention, normed: Tensor) -> tuple[Tensor, Tensor]:
        """Return the layer's keys and values up to the newest position."""
        new = _heads(attention, attention.k_proj(normed)), _heads(attention, attention.v_proj(normed))
        if number == len(self.own):
            batch, heads, _, size = new[0].shape
            keys, values = (one.new_empty(batch, heads, self.room, size) for one in new)
            self.own.append((keys, values))
        stop = self.width + normed.shape[1]
        for kept, one in zip(self.own[number], new, strict=True):
            kept[:, :, self.width : stop] = one
        keys, values = self.own[number]
        return keys[:, :, :stop], values[:, :, :stop]


def _heads(attention: WhisperAttention, projected: Tensor) -> Tensor:
    """Return (B, H, T, D / H) of (B, T, D)."""
    return projected.view(*projected.shape[:2], attention.num_heads, -1).transpose(1, 2)


def _attend(attention: WhisperAttention, hidden: Tensor, keys: Tensor, values: Tensor, causal: bool = False) -> Tensor:
    # Scaled before the product, as transformers does it: texts are the same to the rounding.
    queries = _heads(attention, attention.q_proj(hidden) * attention.scaling)
    mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=causal, scale=1.0)
    out: Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return out
