"""Decoding of what a test set of sentences lacks: of nothing at all, and of minutes in one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor

from raywce.data.features import LogMel
from raywce.data.schema import SAMPLE_RATE
from raywce.data.store import Utterance, Utterances
from raywce.evaluation.decode import evaluate_utterances, evaluating
from raywce.evaluation.robustness import NOTHING, SENTENCE, TRANSFORMERS, named
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.time_stamps import generate
from raywce.evaluation.utterances import UtteranceResult, score
from raywce.precision import computing, resolved

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


def decode_hard_cases(
    model: WhisperForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    extractor: WhisperFeatureExtractor,
    split: Utterances,
    settings: DecodeSettings,
) -> list[UtteranceResult]:
    """Decode nothing, with each language's token; sentences one by one; and those in one piece.

    Args:
        model: the bare model.
        tokenizer: the checkpoint's.
        extractor: the checkpoint's.
        split: whose sentences are joined.
        settings: how; the encoder's context is the whole window.

    Returns:
        A row of each, whose id begins with what it is: `nothing`, `sentence`, or the name of what decoded a piece.
    """
    log_mel = LogMel(extractor).to(model.device)
    rows = named(NOTHING, said_to_nothing(model, tokenizer, log_mel.of, list(split.ranges), settings))
    found = pieces(split) if _writes_time_stamps(model) else []
    indices = [index for piece in found for index in piece.indices]

    def load(positions: list[int]) -> torch.Tensor:
        return log_mel.of([split.audio(indices[position]) for position in positions])

    said = [split[index] for index in indices]
    whole = replace(settings, identify_language=False, encoder_context="full")
    rows += named(SENTENCE, evaluate_utterances(model, tokenizer, said, load, whole))
    return rows + decode_pieces(split, found, TRANSFORMERS, long_form(model, tokenizer, extractor, settings), settings)


def decode_pieces(
    split: Utterances, found: Sequence[Piece], name: str, decode: LongForm, settings: DecodeSettings
) -> list[UtteranceResult]:
    """Return the rows of pieces, each decoded at once by what has that name."""
    return named(
        name,
        [
            _scored(piece, decode(joined(split, piece), settings.token_of(piece.whole.language)), settings)
            for piece in found
        ],
    )


def pieces(split: Utterances) -> list[Piece]:
    """Return pieces of each language: a speaker's utterances in their order, until they last a minute."""
    return [piece for language in split.ranges for piece in _pieces(split, language)]


def joined(split: Utterances, piece: Piece) -> Samples:
    """Return the audio of a piece, with a pause between its utterances."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), np.float32)
    parts = [part for index in piece.indices for part in (split.audio(index), pause)]
    return np.concatenate(parts[:-1])


def said_to_nothing(
    model: WhisperForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    features: Callable[[Sequence[Samples]], torch.Tensor],
    languages: Sequence[str],
    settings: DecodeSettings,
) -> list[UtteranceResult]:
    """Decode silence and noise with each language's token, as an evaluation does.

    Args:
        model: the bare model.
        tokenizer: the checkpoint's.
        features: log-mel features of the whole window.
        languages: of the data.
        settings: how.
    """
    sounds = dict(_nothing())
    clips = [
        Utterance(name, "", language, None, len(samples) / SAMPLE_RATE)
        for language in languages
        for name, samples in sounds.items()
    ]

    def load(indices: list[int]) -> torch.Tensor:
        return features([sounds[clips[index].id] for index in indices])

    return evaluate_utterances(model, tokenizer, clips, load, replace(settings, identify_language=False))


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


def _scored(piece: Piece, text: str, settings: DecodeSettings) -> UtteranceResult:
    return score(
        id=piece.whole.id,
        language=piece.whole.language,
        language_token=settings.token_of(piece.whole.language),
        speaker=piece.whole.speaker,
        duration=piece.whole.duration,
        reference=piece.whole.text,
        hypothesis=text,
        normalizer=settings.normalizer,
        detected_language=None,
        truncated=False,
    )


def _writes_time_stamps(model: WhisperForConditionalGeneration) -> bool:
    """Return whether it can decode long audio, which goes by them."""
    last = model.generation_config.no_timestamps_token_id + 1 + model.config.max_source_positions
    return bool(last < model.config.vocab_size)


def _nothing() -> Iterator[tuple[str, Samples]]:
    noise = np.random.default_rng(0)
    for seconds in NOTHING_S:
        count = round(seconds * SAMPLE_RATE)
        yield f"silence of {seconds:g} s", np.zeros(count, np.float32)
        yield f"noise of {seconds:g} s", noise.normal(0, _NOISE, count).astype(np.float32)


def _pieces(split: Utterances, language: str) -> list[Piece]:
    by_speaker: dict[str | None, list[int]] = {}
    for index in split.ranges[language]:
        by_speaker.setdefault(split.speakers[index], []).append(index)
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
