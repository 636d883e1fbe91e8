"""Settings of decoding and scoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes seconds, and the experiment file's models import this
    from raywce.data.context import FromBatch


@dataclass(frozen=True)
class DecodeSettings:
    """Settings of decoding, for dev, test, extra test sets and `raywce evaluate` alike: their rates can be compared.

    Attributes:
        language_tokens: Whisper's code for a language that takes another's token; others stand for themselves.
        batch_size: utterances that a worker encodes at once, and at which another batch joins those that are decoded,
            counted in windows of 30 s.
        precision: one of `raywce.precision.PRECISIONS`.
        normalizer: a key of `raywce.evaluation.normalizer.NORMALIZERS`.
        identify_language: also find the language token that the model holds for the likeliest.
        encoder_context: `full`, or `batch`: as much as a batch's longest utterance takes, and the margin.
        context_margin: seconds of silence that `batch` has behind its longest utterance; with less, a Whisper that
            knows 30 s alone repeats itself now and then.
        stop_loops: end an utterance that repeats a phrase without end; it counts as wholly wrong.
        timestamps: also decode with time stamps, to see whether the model writes them.
    """

    language_tokens: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = 8
    precision: str = "fp32"
    normalizer: str = "words"
    identify_language: bool = False
    encoder_context: FromBatch = "full"
    context_margin: float = 4.0
    stop_loops: bool = False
    timestamps: bool = False

    def token_of(self, language: str) -> str:
        """Return Whisper's code of the token that a language is decoded with."""
        return self.language_tokens.get(language, language)
