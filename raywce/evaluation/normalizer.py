"""Named text normalisers: applied to reference and hypothesis before words are compared.

A WER is only comparable with another one of the same normaliser, so each has a version, and `versioned_name` goes
into every result. None of them is Whisper's English normaliser, which spells and expands words as English.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache

# Signs that are written in several ways, mapped before NFKC (which would turn ´ into a space and an accent).
_ONE_WAY = str.maketrans(
    {
        **dict.fromkeys("’‘ʼ´`′＇", "'"),
        **dict.fromkeys("‐‑﹣－", "-"),
        **dict.fromkeys("∙⋅‧", "·"),  # l·l in Catalan
    }
)
_JOINERS = "'·-"  # the hyphen last, as a character class wants it
_LOOSE_JOINER = re.compile(rf"(?<![^\s{_JOINERS}])[{_JOINERS}]|[{_JOINERS}](?![^\s{_JOINERS}])")


def _letter_or_space(character: str) -> str:
    """Keep letters, marks, digits and joiners, drop invisible format signs, and make all else a space."""
    category = unicodedata.category(character)
    if category[0] in "LMN" or character in _JOINERS:
        return character
    return "" if category == "Cf" else " "


def words(text: str) -> str:
    """Return lower-case words with single spaces between them, diacritics kept, in any language.

    Hyphens, apostrophes and middle dots stay inside a word (`colle-lo`, `l'aigua`, `col·legi`) and go elsewhere;
    other punctuation and symbols are spaces. Combining marks stay, as scripts of India need them.
    """
    lowered = unicodedata.normalize("NFKC", text.translate(_ONE_WAY)).lower()
    composed = unicodedata.normalize("NFKC", lowered)
    spaced = "".join(map(_letter_or_space, composed))
    return " ".join(_LOOSE_JOINER.sub(" ", spaced).split())


@cache
def _basic_text_normalizer() -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer  # takes a second

    normalizer: Callable[[str], str] = BasicTextNormalizer(remove_diacritics=False)
    return normalizer


def whisper_basic(text: str) -> str:
    """Normalise as the Whisper paper does for languages other than English, diacritics kept.

    It drops what stands in brackets, and splits words at hyphens and apostrophes.
    Source: `transformers.models.whisper.english_normalizer.BasicTextNormalizer`.
    """
    return _basic_text_normalizer()(text).strip()


NORMALIZERS: dict[str, Callable[[str], str]] = {"words": words, "whisper_basic": whisper_basic}
_VERSIONS = {"words": 1, "whisper_basic": 1}  # raise one when its output changes for any text


def versioned_name(name: str) -> str:
    """Return the normaliser's name as results carry it, for example `words/1`."""
    return f"{name}/{_VERSIONS[name]}"
