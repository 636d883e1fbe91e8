"""How languages are written, as far as scoring has to know."""

from __future__ import annotations

import re

_CHINESE = {"zh", "cmn", "yue", "wuu", "nan", "hak", "gan", "hsn", "lzh"}
_BURMESE_SCRIPT = {"my", "shn", "mnw"}
_TIBETAN_SCRIPT = {"bo", "dz"}
_WITHOUT_SPACES = {*_CHINESE, "ja", "th", "nod", "lo", "km", *_BURMESE_SCRIPT, *_TIBETAN_SCRIPT}


def base_code(language: str | None) -> str:
    """Return a language's code without script and region: `zh` of `zh-TW`; empty for None."""
    return re.split("[-_]", language or "")[0].lower()


def separates_words(language: str) -> bool:
    """Return whether words have spaces between them: where they don't, a WER counts phrases, and a CER fits."""
    return base_code(language) not in _WITHOUT_SPACES


def characters(text: str, spaces: bool = True) -> str:
    """Return the characters of a text that a CER counts: of each run of spaces one, or none."""
    return (" " if spaces else "").join(text.split())
