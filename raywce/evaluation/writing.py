"""How languages are written, as far as decoding and scoring have to know."""

from __future__ import annotations

import re

_CHINESE = {"zh", "cmn", "yue", "wuu", "nan", "hak", "gan", "hsn", "lzh"}
_BURMESE_SCRIPT = {"my", "shn", "mnw"}
_TIBETAN_SCRIPT = {"bo", "dz"}
# Scripts of which Whisper's vocabulary has bytes and little more: 1.7 to 3 tokens a character, elsewhere 1.2 at most.
_INDIAN = {"bn", "as", "bpy", "mni", "pa", "gu", "or", "ory", "te", "kn", "tcy", "ml", "si"}
_DEVANAGARI = {"hi", "mr", "ne", "sa", "bho", "mai", "kok", "gom", "doi", "hne", "awa", "mag", "brx", "new"}
_GEORGIAN_SCRIPT = {"ka", "xmf", "lzz", "sva"}
_ETHIOPIC = {"am", "ti", "tig", "gez"}
_LAO_AND_KHMER = {"lo", "km"}
_IN_BYTES = {*_INDIAN, *_GEORGIAN_SCRIPT, *_ETHIOPIC, *_LAO_AND_KHMER, *_BURMESE_SCRIPT, *_TIBETAN_SCRIPT}
_IN_BYTES |= {"dv", "nqo", "sat", "zgh", "chr", "iu", "cr"}
_WITHOUT_SPACES = {*_CHINESE, "ja", "th", "nod", *_LAO_AND_KHMER, *_BURMESE_SCRIPT, *_TIBETAN_SCRIPT}
_VOWEL_SIGNS = {*_INDIAN, *_DEVANAGARI, "ta", "th", "nod", *_LAO_AND_KHMER, *_BURMESE_SCRIPT, *_TIBETAN_SCRIPT, "dv"}


def base_code(language: str | None) -> str:
    """Return a language's code without script and region: `zh` of `zh-TW`; empty for None."""
    return re.split("[-_]", language or "")[0].lower()


def separates_words(language: str) -> bool:
    """Return whether words have spaces between them: where they don't, a WER counts phrases, and a CER fits."""
    return base_code(language) not in _WITHOUT_SPACES


def has_vowel_signs(language: str) -> bool:
    """Return whether vowels are combining marks in the language's script, which no word can do without."""
    return base_code(language) in _VOWEL_SIGNS


def is_written_in_bytes(language: str) -> bool:
    """Return whether Whisper takes several tokens for a character of the language's script."""
    return base_code(language) in _IN_BYTES


def characters(text: str, spaces: bool = True) -> str:
    """Return the characters of a text that a CER counts: of each run of spaces one, or none."""
    return (" " if spaces else "").join(text.split())
