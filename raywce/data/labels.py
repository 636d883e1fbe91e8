"""Label tokens of an utterance: language token, task, no timestamps, text, end.

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

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, WhisperForConditionalGeneration

IGNORED = -100  # F.cross_entropy's ignore_index: padding, and nothing else


@dataclass(frozen=True)
class LabelEncoder:
    """Encoder of texts as labels, for one checkpoint.

    Attributes:
        tokenizer: the checkpoint's fast tokenizer.
        prefixes: for each language of the data, its three prompt tokens.
        end: the end token's id. It stays in the loss, although the padding token has the same id.
        limit: labels the decoder has positions for (`max_target_positions`, 448).
    """

    tokenizer: PreTrainedTokenizerBase
    prefixes: dict[str, tuple[int, int, int]]
    end: int
    limit: int

    @classmethod
    def of(
        cls, model: WhisperForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, tokens: dict[str, str]
    ) -> LabelEncoder:
        """Return the encoder of a Whisper `model`; `tokens` maps each language to the one whose token it takes."""
        config = model.generation_config
        tail = (config.task_to_id["transcribe"], config.no_timestamps_token_id)
        prefixes = {language: (config.lang_to_id[f"<|{token}|>"], *tail) for language, token in tokens.items()}
        return cls(tokenizer, prefixes, model.config.eos_token_id, model.config.max_target_positions)

    def encode(self, texts: Sequence[str], languages: Sequence[str]) -> list[list[int]]:
        """Return a list of label ids for each text. Whisper was trained on text with a space in front."""
        if not texts:
            return []
        spaced = [" " + text.strip() for text in texts]
        # A transcript that spells "<|endoftext|>" is text: split, not taken for the token.
        encoded = self.tokenizer(spaced, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        pairs = zip(languages, encoded, strict=True)
        return [[*self.prefixes[language], *ids, self.end] for language, ids in pairs]

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
