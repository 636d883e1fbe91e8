"""Label tokens of an utterance: language token, task, no time stamps, text, end; or with its start and end.

They begin with the language token: the model puts `<|startoftranscript|>` in front by itself, and a second one there
harms language identification (transformers#29973).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from raywce.errors import fail

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, WhisperForConditionalGeneration

SECONDS_A_STAMP = 0.02  # from one time stamp to the next
IGNORED = -100  # F.cross_entropy's ignore_index: padding, and nothing else


@dataclass(frozen=True)
class LabelEncoder:
    """Encoder of texts as labels, for one checkpoint.

    Attributes:
        tokenizer: the checkpoint's fast tokenizer.
        prefixes: for each language of the data, its three prompt tokens without time stamps.
        end: the end token's id. It stays in the loss, although the padding token has the same id.
        limit: labels the decoder has positions for (`max_target_positions`, 448).
        times: ids of the time stamps <|0.00|> and the last, which may not be in the vocabulary.
    """

    tokenizer: PreTrainedTokenizerBase
    prefixes: dict[str, tuple[int, int, int]]
    end: int
    limit: int
    times: range

    @classmethod
    def of(
        cls, model: WhisperForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, tokens: dict[str, str]
    ) -> LabelEncoder:
        """Return the encoder of a Whisper `model`; `tokens` maps each language to the one whose token it takes."""
        config = model.generation_config
        tail = (config.task_to_id["transcribe"], config.no_timestamps_token_id)
        for language, token in tokens.items():
            if f"<|{token}|>" not in config.lang_to_id:
                do = f"Give {language} another's (languages.language_tokens)"
                fail("model.checkpoint", f"must have a token for {token}", "none", do)
        prefixes = {language: (config.lang_to_id[f"<|{token}|>"], *tail) for language, token in tokens.items()}
        start = config.no_timestamps_token_id + 1
        times = range(start, start + model.config.max_source_positions + 1)
        return cls(tokenizer, prefixes, model.config.eos_token_id, model.config.max_target_positions, times)

    def encode(
        self, texts: Sequence[str], languages: Sequence[str], ends: Sequence[float | None] | None = None
    ) -> list[list[int]]:
        """Return a list of label ids for each text. Whisper was trained on text with a space in front.

        Args:
            texts: transcripts.
            languages: of the data, one for each text.
            ends: seconds at which each text ends, where it has time stamps: 0 in front and this behind it, one label
                more; None: it has none.
        """
        if not texts:
            return []
        spaced = [" " + text.strip() for text in texts]
        # A transcript that spells "<|endoftext|>" is text: split, not taken for the token.
        encoded = self.tokenizer(spaced, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        parts = zip(languages, encoded, ends or [None] * len(texts), strict=True)
        return [[*self._timed(self.prefixes[language], ids, end), self.end] for language, ids, end in parts]

    def _timed(self, prefix: tuple[int, int, int], ids: list[int], end: float | None) -> list[int]:
        if end is None:
            return [*prefix, *ids]
        language, task, _ = prefix
        last = min(round(end / SECONDS_A_STAMP), len(self.times) - 1)
        return [language, task, self.times[0], *ids, self.times[last]]

    @property
    def fingerprint(self) -> str:
        """Text that changes where the same transcript could give another number of labels."""
        return hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


def pad_labels(labels: Sequence[Sequence[int]]) -> Tensor:
    """Return (B, L) int64 labels, `IGNORED` behind each utterance's own end token."""
    out = torch.full((len(labels), max(map(len, labels))), IGNORED)
    for row, ids in zip(out, labels, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return out
