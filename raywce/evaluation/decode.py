"""Decoding a dev or test set with Whisper: greedy, the right language per utterance, bounded by the audio's length.

Used inside training and by `raywce evaluate` alike. `B` is the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from transformers import PreTrainedTokenizerBase, WhisperForConditionalGeneration

from raywce.data.context import EncoderContext
from raywce.data.features import LogMel
from raywce.data.store import Utterance, Utterances
from raywce.evaluation import greedy
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.utterances import UtteranceResult, score
from raywce.precision import computing, resolved

PROMPT_TOKENS = 4  # <|startoftranscript|> <|language|> <|transcribe|> <|notimestamps|>


@dataclass(frozen=True)
class TokenBound:
    """Bound on an utterance's new tokens, the end token included: it ends runaway repetitions.

    Read speech of languages that Whisper's vocabulary serves well takes some 2 to 5 tokens a second, 17 at most; the
    full 30 seconds have 448 positions, 15 tokens a second, whatever the bound says.
    """

    per_second: float = 25.0
    extra: int = 10

    def tokens(self, seconds: float, max_target_positions: int) -> int:
        """Return the bound for audio of that length; never more than the decoder's positions leave after the prompt."""
        return min(math.ceil(self.per_second * seconds) + self.extra, max_target_positions - PROMPT_TOKENS)


DEFAULT_BOUND = TokenBound()


@dataclass(frozen=True)
class Transcription:
    """Result of decoding one utterance.

    Attributes:
        truncated: it did not come to the end token.
        stopped: as it ran in a loop, before its bound.
        detected_language: None where it was not asked for.
    """

    text: str
    truncated: bool
    stopped: bool
    detected_language: str | None


def transcribe_batch(
    model: WhisperForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    input_features: torch.Tensor,
    languages: Sequence[str],
    durations: Sequence[float],
    *,
    bound: TokenBound = DEFAULT_BOUND,
    identify_language: bool = False,
    stop_loops: bool = False,
) -> list[Transcription]:
    """Transcribe one batch greedily; the encoder runs once, under the caller's autocast.

    Each utterance is cut at its own bound, so its text does not depend on what it is batched with.

    Args:
        model: in evaluation mode (`evaluating`).
        tokenizer: the checkpoint's.
        input_features: log-mel `(B, mel bins, frames)`, on any device.
        languages: Whisper's code of the language token, one for each utterance.
        durations: seconds.
        bound: the limit on new tokens.
        identify_language: also ask which language token the model finds likeliest.
        stop_loops: end an utterance that repeats a phrase without end.

    Raises:
        ValueError: a language is not in the model's `generation_config.lang_to_id`.
    """
    bounds = [bound.tokens(seconds, model.config.max_target_positions) for seconds in durations]
    prompts = torch.tensor([_prompt(model, language) for language in languages], device=model.device)
    with torch.no_grad():
        encoded = model.get_encoder()(input_features.to(model.device, model.dtype)).last_hidden_state
        sequences, of_first = greedy.decode(model, encoded, prompts, bounds, stop_loops)
    detected = _identify(model, of_first) if identify_language else [None] * len(bounds)
    end = model.generation_config.eos_token_id
    return [
        Transcription(
            text=tokenizer.decode(tokens, skip_special_tokens=True).strip(),
            truncated=end not in tokens,
            stopped=end not in tokens and len(tokens) < most,
            detected_language=code,
        )
        for tokens, most, code in zip(sequences, bounds, detected, strict=True)
    ]


def _prompt(model: WhisperForConditionalGeneration, language: str) -> list[int]:
    """Return the `PROMPT_TOKENS` tokens of a prompt."""
    config = model.generation_config
    token = config.lang_to_id.get(f"<|{language}|>")
    if token is None:
        raise ValueError(f"the model must be able to generate in the language, but it is {language}")
    return [config.decoder_start_token_id, token, config.task_to_id["transcribe"], config.no_timestamps_token_id]


def _identify(model: WhisperForConditionalGeneration, of_first: torch.Tensor) -> list[str | None]:
    """Return Whisper's code of each utterance's likeliest language token, among those the model may generate in."""
    code_of = {token_id: token[2:-2] for token, token_id in model.generation_config.lang_to_id.items()}
    likeliest = of_first[:, list(code_of)].argmax(dim=-1).tolist()
    codes = list(code_of.values())
    return [codes[place] for place in likeliest]


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode for the block; each module returns to its own mode, frozen parts too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def batch_by_duration(durations: Sequence[float], max_batch: int) -> list[list[int]]:
    """Return batches of indices, longest audio first, at most `max_batch` in each; ties keep their order."""
    order = sorted(range(len(durations)), key=lambda index: -durations[index])
    return [order[start : start + max_batch] for start in range(0, len(order), max_batch)]


def encoder_context(log_mel: LogMel, settings: DecodeSettings) -> EncoderContext:
    """Return how many frames of features the encoder sees of a batch."""
    return EncoderContext.of(log_mel, settings.encoder_context, margin=settings.context_margin)


def evaluate_utterances(
    model: WhisperForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    utterances: Sequence[Utterance] | Utterances,
    load_features: Callable[[list[int]], torch.Tensor],
    settings: DecodeSettings,
    *,
    rank: int = 0,
    world_size: int = 1,
    on_batch: Callable[[int], None] = lambda done: None,
) -> list[UtteranceResult]:
    """Decode and score this rank's share; `gather_rows` puts the shares together.

    Whole batches are dealt to the ranks, the same ones for any number of ranks, and so the same arithmetic.

    Args:
        model: the bare model (not wrapped in DDP); its training modes are restored.
        tokenizer: the checkpoint's.
        utterances: the whole set, in the same order on all ranks.
        load_features: log-mel features `(B, mel bins, frames)` of the utterances with these indices.
        settings: how; of the encoder's context, `load_features` takes care (`encoder_context`).
        rank: this worker's number.
        world_size: how many workers share the set.
        on_batch: called with the number of utterances just decoded.
    """
    durations = [utterances[index].duration for index in range(len(utterances))]
    batches = batch_by_duration(durations, settings.batch_size)
    precision = resolved(settings.precision, model.device)
    rows: list[UtteranceResult] = []
    with evaluating(model), computing(precision, model.device):
        for batch in batches[rank::world_size]:  # sorted by length: all ranks get similar work
            chosen = [utterances[index] for index in batch]
            rows += _decode_batch(model, tokenizer, chosen, load_features(batch), settings)
            on_batch(len(batch))
    return rows


def _decode_batch(
    model: WhisperForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    utterances: Sequence[Utterance],
    features: torch.Tensor,
    settings: DecodeSettings,
) -> Iterator[UtteranceResult]:
    tokens = [settings.language_tokens.get(one.language, one.language) for one in utterances]
    durations = [one.duration for one in utterances]
    transcriptions = transcribe_batch(
        model,
        tokenizer,
        features,
        tokens,
        durations,
        identify_language=settings.identify_language,
        stop_loops=settings.stop_loops,
    )
    for utterance, token, transcription in zip(utterances, tokens, transcriptions, strict=True):
        yield score(
            id=utterance.id,
            language=utterance.language,
            language_token=token,
            speaker=utterance.speaker,
            duration=utterance.duration,
            reference=utterance.text,
            hypothesis=transcription.text,
            normalizer=settings.normalizer,
            detected_language=transcription.detected_language,
            truncated=transcription.truncated,
            stopped=transcription.stopped,
        )


def gather_rows(rows: Sequence[UtteranceResult]) -> list[UtteranceResult]:
    """Return all ranks' rows, on every rank, sorted by language and id; only sorted where torch is not distributed."""
    shares = [list(rows)]
    if dist.is_initialized():
        shares = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(shares, list(rows))
    return sorted((row for share in shares for row in share), key=lambda row: (row.language, row.id))
