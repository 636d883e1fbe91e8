"""Whether a model still writes time stamps: decoding with them, by transformers, and what it says of each utterance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from raywce.data.labels import SECONDS_A_STAMP

if TYPE_CHECKING:
    from transformers import WhisperForConditionalGeneration


@dataclass(frozen=True)
class TimeStamps:
    """Time stamps of one utterance.

    Attributes:
        whole: each piece of text has a start and a later end, and begins no sooner than the one before ended.
        end: seconds of the last one; None without any.
    """

    whole: bool
    end: float | None


@torch.no_grad()
def generate(
    model: WhisperForConditionalGeneration, features: torch.Tensor, mask: torch.Tensor, languages: Sequence[str]
) -> torch.Tensor:
    """Return the (B, T) tokens that transformers decodes with time stamps, greedily, under the caller's autocast.

    Args:
        model: in evaluation mode.
        features: (B, mel bins, frames) of the whole window; of a single utterance also of more.
        mask: (B, frames), 1 where there is audio or its silence.
        languages: codes of B language tokens.
    """
    found: torch.Tensor = model.generate(
        input_features=features.to(model.device, model.dtype),
        attention_mask=mask.to(model.device),
        language=[f"<|{language}|>" for language in languages],
        task="transcribe",
        return_timestamps=True,
        num_beams=1,
        do_sample=False,
    )
    return found


def time_stamps(
    model: WhisperForConditionalGeneration, features: torch.Tensor, languages: Sequence[str]
) -> list[TimeStamps]:
    """Return what a batch's time stamps are; arguments as of `generate`, each utterance with its whole window."""
    mask = torch.ones(features.shape[0], features.shape[2], dtype=torch.long)
    found = generate(model, features, mask, languages)
    config = model.generation_config
    return [read(row, config.no_timestamps_token_id + 1, config.eos_token_id) for row in found.tolist()]


def read(tokens: Sequence[int], first: int, end: int) -> TimeStamps:
    """Return what the time stamps among generated tokens are.

    Args:
        tokens: without the prompt.
        first: id of <|0.00|>.
        end: id of <|endoftext|>, which may follow several times.
    """
    said = [token for token in tokens if token != end]
    places = [place for place, token in enumerate(said) if token >= first]
    pieces = list(zip(places[::2], places[1::2], strict=False))  # Whisper writes start, text, end, start, text, end, …
    is_covered = len(places) % 2 == 0 and [place for start, stop in pieces for place in range(start, stop + 1)] == list(
        range(len(said))
    )
    stamps = [said[place] for place in places]
    is_ordered = stamps == sorted(stamps)
    has_text = all(stop > start + 1 and said[stop] > said[start] for start, stop in pieces)
    whole = bool(pieces) and is_covered and is_ordered and has_text
    return TimeStamps(whole, SECONDS_A_STAMP * (stamps[-1] - first) if stamps else None)
