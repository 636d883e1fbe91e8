"""Whether a transcript fits the decoder: counted with the tokenizer alone, so that workers need no torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from tokenizers import Tokenizer

from raywce.errors import fail

_AROUND = 4  # language token, task, no timestamps; end token


@dataclass(frozen=True)
class LabelLimit:
    """A tokenizer in a file, and how many labels its model takes.

    Attributes:
        tokenizer: a `tokenizers` JSON file.
        labels: at most so many (`max_target_positions`, 448 for Whisper).
    """

    tokenizer: Path
    labels: int

    def count(self, text: str) -> int:
        """Labels of a transcript, which Whisper reads with a space in front."""
        tokens = _open(self.tokenizer).encode(" " + text.strip(), add_special_tokens=False)
        return len(tokens.ids) + _AROUND

    @property
    def fingerprint(self) -> str:
        """Changes where counts could."""
        return f"{self.labels}:{sha256(self.tokenizer.read_bytes()).hexdigest()}"


def load_label_limit(model: str, save_to: Path) -> LabelLimit:
    """Take tokenizer and limit from a transformers folder or Hub id; the tokenizer is written to `save_to`.

    Raises:
        InputError: nothing there that transformers can open.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        labels = AutoConfig.from_pretrained(model).max_target_positions
        text = tokenizer.backend_tokenizer.to_str()
    except Exception as error:  # transformers raises many kinds; the user needs the one line
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        fail("--tokenizer", "must be a Whisper folder or Hub id that transformers opens", model, reason)
    save_to.parent.mkdir(parents=True, exist_ok=True)
    save_to.write_text(text)
    return LabelLimit(save_to, int(labels))


@lru_cache(maxsize=1)
def _open(path: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True  # a transcript that spells "<|endoftext|>" is text
    return tokenizer
