"""Decoding a dev or test set with Whisper: greedy, the right language per utterance, bounded by the audio's length.

Used inside training and by `raywce evaluate` alike. Dimensions: B batch, S positions of the encoder, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from raywce.evaluation.writing import is_written_in_bytes
from raywce.precision import computing, resolved

PROMPT_TOKENS = 4  # <|startoftranscript|> <|language|> <|transcribe|> <|notimestamps|>
_LOOK_EVERY = 8  # tokens, on a GPU: more are chosen in vain behind each end, fewer leave it waiting for Python


@dataclass(frozen=True)
class TokenBound:
    """Bound on an utterance's new tokens, the end token included: it ends runaway repetitions.

    Read speech of languages that Whisper's vocabulary serves well takes some 2 to 5 tokens a second, 17 at most; of
    those that are written in bytes, such as Georgian, 20 to 36. The full 30 seconds have 448 positions, 15 tokens a
    second, whatever the bound says.

    It follows from language and length alone: what is decoded of an utterance depends on no reference.

    Attributes:
        per_second: twice that for languages that are written in bytes.
        extra: for any length.
    """

    per_second: float = 25.0
    extra: int = 10

    def tokens(self, seconds: float, language: str, max_target_positions: int) -> int:
        """Return the bound for audio of that length; never more than the decoder's positions leave after the prompt.

        Args:
            seconds: of the audio.
            language: Whisper's code of the language token.
            max_target_positions: of the decoder.
        """
        per_second = self.per_second * (2 if is_written_in_bytes(language) else 1)
        return min(math.ceil(per_second * seconds) + self.extra, max_target_positions - PROMPT_TOKENS)


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


@dataclass(frozen=True)
class Audio:
    """A batch of utterances to transcribe.

    Attributes:
        heard: log-mel features `(B, mel bins, frames)`, or encoder states `(B, S, D)`, on any device.
        languages: Whisper's code of the language token, one for each utterance.
        durations: seconds.
    """

    heard: torch.Tensor
    languages: Sequence[str]
    durations: Sequence[float]


@torch.no_grad()  # as a decorator: within the generator it would hold for the caller too
def transcribe(
    model: WhisperForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    batches: Iterable[Audio],
    *,
    windows: int,
    bound: TokenBound = DEFAULT_BOUND,
    identify_language: bool = False,
    stop_loops: bool = False,
    encoded: bool = False,
) -> Iterator[tuple[int, list[Transcription]]]:
    """Transcribe batches greedily, under the caller's autocast; yield each with its number, once all of it has ended.

    A batch is encoded by itself, and decoded together with others as far as there is room. Each utterance is cut at
    its own bound, so its text does not depend on what it is decoded with, but for rounding.

    Args:
        model: in evaluation mode (`evaluating`).
        tokenizer: the checkpoint's.
        batches: taken one by one.
        windows: the next batch joins while those that are decoded have fewer positions of the encoder than so many
            whole windows (30 s).
        bound: the limit on new tokens.
        identify_language: also ask which language token the model finds likeliest.
        stop_loops: end an utterance that repeats a phrase without end.
        encoded: whether the batches hold encoder states.

    Raises:
        ValueError: a language is not in the model's `generation_config.lang_to_id`.
    """
    config, encoder, positions = model.generation_config, model.get_encoder(), model.config.max_target_positions
    codes = {token_id: token[2:-2] for token, token_id in config.lang_to_id.items()} if identify_language else {}
    bounds: list[list[int]] = []

    def encoder_states() -> Iterator[greedy.Batch]:
        for batch in batches:
            prompts = torch.tensor([_prompt(model, language) for language in batch.languages], device=model.device)
            asked = zip(batch.durations, batch.languages, strict=True)
            bounds.append([bound.tokens(seconds, language, positions) for seconds, language in asked])
            states = batch.heard.to(model.device, model.dtype)
            if not encoded:
                states = greedy.encoded(encoder, states)
            yield greedy.Batch(states, prompts, bounds[-1])

    for done in greedy.decode(
        model,
        encoder_states(),
        windows * model.config.max_source_positions,
        stop_loops=stop_loops,
        identify=list(codes),
        look_every=_LOOK_EVERY if model.device.type == "cuda" else 1,
    ):
        detected = [None] * len(done.tokens)
        if done.likeliest is not None:
            detected = [list(codes.values())[place] for place in done.likeliest]
        parts = zip(done.tokens, bounds[done.number], detected, strict=True)
        yield done.number, [_transcription(tokenizer, config.eos_token_id, *part) for part in parts]


def _transcription(
    tokenizer: PreTrainedTokenizerBase, end: int, tokens: list[int], bound: int, detected: str | None
) -> Transcription:
    return Transcription(
        text=tokenizer.decode(tokens, skip_special_tokens=True).strip(),
        truncated=end not in tokens,
        stopped=end not in tokens and len(tokens) < bound,
        detected_language=detected,
    )


def _prompt(model: WhisperForConditionalGeneration, language: str) -> list[int]:
    """Return the `PROMPT_TOKENS` tokens of a prompt."""
    config = model.generation_config
    token = config.lang_to_id.get(f"<|{language}|>")
    if token is None:
        raise ValueError(f"the model must be able to generate in the language, but it is {language}")
    return [config.decoder_start_token_id, token, config.task_to_id["transcribe"], config.no_timestamps_token_id]


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
    load: Callable[[list[int]], torch.Tensor],
    settings: DecodeSettings,
    *,
    rank: int = 0,
    world_size: int = 1,
    on_batch: Callable[[int], None] = lambda done: None,
    encoded: bool = False,
) -> list[UtteranceResult]:
    """Decode and score this rank's share; `gather_rows` puts the shares together.

    Whole batches are dealt to the ranks, the same ones for any number of ranks, and so each utterance is encoded the
    same. With which others it is decoded changes its scores by rounding alone.

    Args:
        model: the bare model (not wrapped in DDP); its training modes are restored.
        tokenizer: the checkpoint's.
        utterances: the whole set, in the same order on all ranks.
        load: gives log-mel features `(B, mel bins, frames)`, or encoder states, of the utterances with these indices;
            for a GPU called in a thread, a batch ahead.
        settings: how; of the encoder's context, `load` takes care (`encoder_context`).
        rank: this worker's number.
        world_size: how many workers share the set.
        on_batch: called with the number of utterances just decoded.
        encoded: whether `load` gives encoder states.
    """
    said = [utterances[index] for index in range(len(utterances))]
    tokens = [settings.token_of(one.language) for one in said]
    batches = batch_by_duration([one.duration for one in said], settings.batch_size)[rank::world_size]
    # On a CPU a second thread's products and the decoder's wait for each other.
    loaded = _ahead(load, batches) if model.device.type == "cuda" else map(load, batches)
    audio = (
        Audio(heard, [tokens[index] for index in batch], [said[index].duration for index in batch])
        for batch, heard in zip(batches, loaded, strict=True)
    )
    rows: list[UtteranceResult] = []
    with evaluating(model), computing(resolved(settings.precision, model.device), model.device):
        for number, transcriptions in transcribe(
            model,
            tokenizer,
            audio,
            windows=settings.batch_size,
            identify_language=settings.identify_language,
            stop_loops=settings.stop_loops,
            encoded=encoded,
        ):
            for index, transcription in zip(batches[number], transcriptions, strict=True):
                rows.append(scored(said[index], transcription, settings))
            on_batch(len(transcriptions))
    return rows


def _ahead(load: Callable[[list[int]], torch.Tensor], batches: Sequence[list[int]]) -> Iterator[torch.Tensor]:
    """Yield what is loaded of each batch; a thread loads the next one meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        loads = (thread.submit(load, batch) for batch in batches)
        coming = next(loads, None)
        while coming is not None:
            loaded, coming = coming, next(loads, None)
            yield loaded.result()


def scored(utterance: Utterance, transcription: Transcription, settings: DecodeSettings) -> UtteranceResult:
    """Return the row of an utterance as it was decoded."""
    return score(
        id=utterance.id,
        language=utterance.language,
        language_token=settings.token_of(utterance.language),
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
    """Return all ranks' rows, on every rank, in order; a rank's own where torch is not distributed."""
    shares = [list(rows)]
    if dist.is_initialized():
        shares = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(shares, list(rows))
    return in_order(shares)


def in_order(shares: Iterable[Sequence[UtteranceResult]]) -> list[UtteranceResult]:
    """Return the rows of all shares, sorted by language and id."""
    return sorted((row for share in shares for row in share), key=lambda row: (row.language, row.id))
