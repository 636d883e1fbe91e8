"""Transcripts: the named clean-ups that `prepare` offers, and the form in which sentences are compared."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

_BEFORE_CLOSING = re.compile(r"\s+([,.;:!?…)\]}»”]+)(?=\s|$)")
_AFTER_OPENING = re.compile(r"(?<!\S)([(\[{«“¿¡]+)\s+")


def remove_punctuation_spaces(text: str) -> str:
    """Remove spaces before closing and after opening punctuation, as arXiv 2409.16954 does.

    Punctuation that touches a word on its other side (` .5`, ` ...and`) is left alone.
    """
    return _AFTER_OPENING.sub(r"\1", _BEFORE_CLOSING.sub(r"\1", text))


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


CLEAN_UPS: dict[str, Callable[[str], str]] = {"punctuation-spaces": remove_punctuation_spaces, "nfc": _nfc}


def clean(text: str, names: Iterable[str] = ()) -> str:
    """Strip surrounding white space and apply the named clean-ups (keys of `CLEAN_UPS`) in order."""
    for name in names:
        text = CLEAN_UPS[name](text)
    return text.strip()


def sentence_key(text: str) -> str:
    """The form in which two transcripts count as one sentence: case folded, white space collapsed."""
    return " ".join(text.casefold().split())
