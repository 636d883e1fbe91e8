"""What a test set of sentences does not show: what a model says to nothing, and to minutes in one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor

from raywce.data.features import LogMel
from raywce.data.schema import SAMPLE_RATE
from raywce.data.store import Utterance, Utterances, open_split
from raywce.evaluation.counts import EditCounts
from raywce.evaluation.decode import evaluate_utterances, evaluating
from raywce.evaluation.evaluate import Evaluation
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.utterances import UtteranceResult, score
from raywce.model import load_model, load_tokenizer
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


@dataclass(frozen=True)
class Robustness:
    """Figures of one language.

    Attributes:
        clips: of nothing: silence and noise of some lengths.
        clips_with_text: those that the model said something to.
        words: that it said to them.
        pieces: of speech, of a minute or more.
        seconds: that they last together.
        short: edits of their utterances, decoded one by one.
        long: edits of them, each decoded in one piece, by the name of what decoded it.
    """

    clips: int
    clips_with_text: int
    words: int
    pieces: int
    seconds: float
    short: EditCounts
    long: Mapping[str, EditCounts]


@dataclass(frozen=True)
class Measured:
    """What was measured of a model.

    Attributes:
        languages: the figures of each.
        nothing: what it said to each clip of nothing.
    """

    languages: Mapping[str, Robustness]
    nothing: Sequence[UtteranceResult]


def measure(evaluation: Evaluation, device: torch.device, others: Callable[[], Mapping[str, LongForm]]) -> Measured:
    """Measure the model of an evaluation, with the utterances of its split for speech of minutes.

    Args:
        evaluation: of a checkpoint that is on this machine, or on the Hub.
        device: to compute on.
        others: gives what decodes long audio beside transformers, by name; called where there is any.
    """
    settings, model = evaluation.settings, evaluation.model
    split = open_split(Path(evaluation.data), evaluation.split, evaluation.languages, evaluation.cache)
    whisper, tokenizer = load_model(model, evaluation.revision).to(device), load_tokenizer(model, evaluation.revision)
    extractor = WhisperFeatureExtractor.from_pretrained(model, revision=evaluation.revision)
    log_mel = LogMel(extractor).to(device)
    nothing = said_to_nothing(whisper, tokenizer, log_mel.of, evaluation.languages, settings)
    found = pieces(split, evaluation.languages) if _writes_time_stamps(whisper) else []
    indices = [index for piece in found for index in piece.indices]

    def load(positions: list[int]) -> torch.Tensor:
        return log_mel.of([split.audio(indices[position]) for position in positions])

    short = evaluate_utterances(whisper, tokenizer, [split[index] for index in indices], load, settings)
    decoders = {"transformers": long_form(whisper, tokenizer, extractor, settings), **others()} if found else {}
    tokens = settings.language_tokens
    long = {
        name: [
            scored(
                piece, decode(joined(split, piece), tokens.get(piece.whole.language, piece.whole.language)), settings
            )
            for piece in found
        ]
        for name, decode in decoders.items()
    }
    return Measured(summary(nothing, short, long, found), nothing)


def pieces(split: Utterances, languages: Sequence[str]) -> list[Piece]:
    """Return pieces of each language: a speaker's utterances in their order, until they last a minute."""
    return [piece for language in languages for piece in _pieces(split, language)]


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
        with torch.no_grad(), evaluating(model), computing(resolved(settings.precision, model.device), model.device):
            tokens = model.generate(
                input_features=inputs.input_features.to(model.device, model.dtype),
                attention_mask=inputs.attention_mask.to(model.device),
                language=f"<|{language}|>",
                task="transcribe",
                return_timestamps=True,
                num_beams=1,
                do_sample=False,
            )
        text: str = tokenizer.decode(tokens[0], skip_special_tokens=True)
        return text.strip()

    return transcribe


def scored(piece: Piece, text: str, settings: DecodeSettings) -> UtteranceResult:
    """Return the row of a piece that was decoded as one."""
    return score(
        id=piece.whole.id,
        language=piece.whole.language,
        language_token=_token(piece, settings),
        speaker=piece.whole.speaker,
        duration=piece.whole.duration,
        reference=piece.whole.text,
        hypothesis=text,
        normalizer=settings.normalizer,
        detected_language=None,
        truncated=False,
    )


def summary(
    nothing: Sequence[UtteranceResult],
    short: Sequence[UtteranceResult],
    long: Mapping[str, Sequence[UtteranceResult]],
    of_pieces: Sequence[Piece],
) -> dict[str, Robustness]:
    """Return the figures of each language that has any, by its normalised words.

    Args:
        nothing: what was said to clips of nothing.
        short: the pieces' utterances, decoded one by one.
        long: the pieces, by the name of what decoded them.
        of_pieces: which they are.
    """

    def words(rows: Sequence[UtteranceResult], language: str) -> EditCounts:
        return _total([row.words_normalized for row in rows if row.language == language])

    found = {}
    for language in dict.fromkeys(row.language for row in (*nothing, *short)):
        clips = [row for row in nothing if row.language == language]
        own = [piece for piece in of_pieces if piece.whole.language == language]
        found[language] = Robustness(
            clips=len(clips),
            clips_with_text=sum(bool(row.hypothesis_normalized) for row in clips),
            words=_total([row.words_normalized for row in clips]).insertions,
            pieces=len(own),
            seconds=sum(piece.whole.duration for piece in own),
            short=words(short, language),
            long={name: words(rows, language) for name, rows in long.items()},
        )
    return found


def _token(piece: Piece, settings: DecodeSettings) -> str:
    return settings.language_tokens.get(piece.whole.language, piece.whole.language)


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


def _total(counts: Sequence[EditCounts]) -> EditCounts:
    names = ("hits", "substitutions", "deletions", "insertions")
    return EditCounts(*(sum(getattr(one, name) for one in counts) for name in names))
