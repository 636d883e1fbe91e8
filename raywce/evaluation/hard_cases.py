"""Decoding of what a test set of sentences lacks: of nothing at all, and of minutes in one piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor

from raywce.data.features import LogMel
from raywce.data.schema import SAMPLE_RATE
from raywce.data.store import Utterance, Utterances
from raywce.evaluation.decode import Transcription, evaluate_utterances, evaluating, scored
from raywce.evaluation.robustness import NOTHING, SENTENCE, TRANSFORMERS, named
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.time_stamps import generate
from raywce.evaluation.utterances import UtteranceResult
from raywce.precision import computing, resolved
from raywce.whisper_folder import holds_time_stamps

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, WhisperForConditionalGeneration

Samples = NDArray[np.float32]
LongForm = Callable[[Samples, str], str]  # audio of any length and a language's token to its text

NOTHING_S = (2.0, 5.0, 20.0)
PIECE_S, PIECES, PAUSE_S = 60.0, 3, 0.5  # a piece is so long at least; so many of a language; between its utterances
_NOISE = 10 ** (-50 / 20)  # amplitude of what a quiet room leaves in a recording: -50 dB of full scale


@dataclass(frozen=True)
class Piece:
    """Utterances of one speaker in a row.

    Attributes:
        indices: of the utterances.
        whole: what was said, as one utterance.
    """

    indices: tuple[int, ...]
    whole: Utterance


@dataclass(frozen=True)
class Clip:
    """Audio without speech.

    Attributes:
        samples: of it.
        said: nothing, as an utterance of a language.
    """

    samples: Samples
    said: Utterance


def decode_hard_cases(
    model: WhisperForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    extractor: WhisperFeatureExtractor,
    split: Utterances,
    settings: DecodeSettings,
    rank: int = 0,
    workers: int = 1,
) -> list[UtteranceResult]:
    """Decode this rank's share of nothing, with each language's token; of sentences one by one; of those in one piece.

    Args:
        model: the bare model.
        tokenizer: the checkpoint's.
        extractor: the checkpoint's.
        split: whose sentences are joined.
        settings: how; the encoder's context is the whole window.
        rank: this worker's number.
        workers: how many share the work.

    Returns:
        A row of each, whose id begins with what it is: `nothing`, `sentence`, or the name of what decoded a piece.
    """
    log_mel = LogMel(extractor).to(model.device)
    clips = nothing(list(split.ranges), log_mel.n_samples)

    def load_nothing(positions: list[int]) -> torch.Tensor:
        return log_mel.of([clips[position].samples for position in positions])

    how = replace(settings, identify_language=False, encoder_context="full")
    said = [clip.said for clip in clips]
    rows = named(NOTHING, evaluate_utterances(model, tokenizer, said, load_nothing, how, rank=rank, world_size=workers))
    found = pieces(split) if _writes_time_stamps(model) else []
    indices = [index for piece in found for index in piece.indices]

    def load(positions: list[int]) -> torch.Tensor:
        return log_mel.of([split.audio(indices[position]) for position in positions])

    said = [split[index] for index in indices]
    rows += named(SENTENCE, evaluate_utterances(model, tokenizer, said, load, how, rank=rank, world_size=workers))
    in_one_piece = long_form(model, tokenizer, extractor, settings)
    return rows + decode_pieces(split, found[rank::workers], TRANSFORMERS, in_one_piece, settings)


def decode_pieces(
    split: Utterances, found: Sequence[Piece], name: str, decode: LongForm, settings: DecodeSettings
) -> list[UtteranceResult]:
    """Return the rows of pieces, each decoded at once by what has that name."""
    texts = [decode(joined(split, piece), settings.token_of(piece.whole.language)) for piece in found]
    rows = [
        scored(piece.whole, Transcription(text, truncated=False, stopped=False, detected_language=None), settings)
        for piece, text in zip(found, texts, strict=True)
    ]
    return named(name, rows)


def pieces(split: Utterances) -> list[Piece]:
    """Return pieces of each language: a speaker's utterances in their order, until they last a minute."""
    return [piece for language in split.ranges for piece in _pieces(split, language)]


def joined(split: Utterances, piece: Piece) -> Samples:
    """Return the audio of a piece, with a pause between its utterances."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), np.float32)
    parts = [part for index in piece.indices for part in (split.audio(index), pause)]
    return np.concatenate(parts[:-1])


def nothing(languages: Sequence[str], most: int) -> list[Clip]:
    """Return clips of silence and of noise for each language, of at most so many samples."""
    noise = np.random.default_rng(0)
    sounds: dict[str, Samples] = {}
    for seconds in NOTHING_S:
        count = round(seconds * SAMPLE_RATE)
        if count <= most:
            sounds[f"silence of {seconds:g} s"] = np.zeros(count, np.float32)
            sounds[f"noise of {seconds:g} s"] = noise.normal(0, _NOISE, count).astype(np.float32)
    return [
        Clip(samples, Utterance(name, "", language, None, len(samples) / SAMPLE_RATE))
        for language in languages
        for name, samples in sounds.items()
    ]


def long_form(
    model: WhisperForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    extractor: WhisperFeatureExtractor,
    settings: DecodeSettings,
) -> LongForm:
    """Return transformers' own decoding of long audio: window by window, by the time stamps that the model writes."""

    def transcribe(samples: Samples, language: str) -> str:
        inputs = extractor(
            samples,
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
            truncation=False,
            padding="longest",
            return_attention_mask=True,
        )
        with evaluating(model), computing(resolved(settings.precision, model.device), model.device):
            tokens = generate(model, inputs.input_features, inputs.attention_mask, [language])
        text: str = tokenizer.decode(tokens[0], skip_special_tokens=True)
        return text.strip()

    return transcribe


def _writes_time_stamps(model: WhisperForConditionalGeneration) -> bool:
    """Return whether it can decode long audio, which goes by them."""
    config = model.config
    return holds_time_stamps(
        model.generation_config.no_timestamps_token_id, config.max_source_positions, config.vocab_size
    )


def _pieces(split: Utterances, language: str) -> list[Piece]:
    by_speaker: dict[str, list[int]] = {}
    for index in split.ranges[language]:
        if (speaker := split.speakers[index]) is not None:
            by_speaker.setdefault(speaker, []).append(index)
    found: list[Piece] = []
    for speaker, indices in by_speaker.items():
        taken: list[int] = []
        for index in indices:
            taken.append(index)
            seconds = float(split.durations[taken].sum()) + PAUSE_S * (len(taken) - 1)
            if seconds >= PIECE_S:
                text = " ".join(split[one].text for one in taken)
                whole = Utterance(f"{language} {len(found)}", text, language, speaker, seconds)
                found.append(Piece(tuple(taken), whole))
                break  # of each speaker one
        if len(found) == PIECES:
            break
    return found
