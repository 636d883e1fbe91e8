"""Named text normalisers: applied to reference and hypothesis before words are compared.

A rate is only comparable with another one of the same normaliser, so each has a version, and `versioned_name` goes
into every result. None of them is Whisper's English normaliser, which spells and expands words as English.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache

from raywce.evaluation.writing import base_code, separates_words

Normalizer = Callable[[str, str | None], str]
"""Function of a text and its language's code (None: not known)."""

# Signs that are written in several ways: mapped before NFKC, which would turn ´ into a space and an accent, and after,
# as it turns ŉ into U+02BC and n.
_ONE_WAY = str.maketrans(
    {
        **dict.fromkeys("’‘‛ʻʼʽ´`′＇՚׳", "'"),  # U+02BB and U+02BC are letters, of Uzbek and Hawaiian among others
        **dict.fromkeys("‐‑﹣－֊־", "-"),
        **dict.fromkeys("∙⋅‧", "·"),  # l·l in Catalan
        **dict.fromkeys("՛՜՞", ""),  # of Armenian stress, exclamations and questions: on a vowel, as an accent is
    }
)
_DOTTED_I = {"I": "ı", "İ": "i"}  # SpecialCasing.txt and CaseFolding.txt, for Turkish and Azeri
_YEH, _KAF = {"ي": "ی"}, {"ك": "ک"}  # Arabic letters, and Persian ones that look the same within a word
_COMMA_BELOW = {"ş": "ș", "Ş": "Ș", "ţ": "ț", "Ţ": "Ț"}  # older Romanian fonts had a cedilla
_PERSIAN = str.maketrans(_YEH | _KAF)
_LETTERS = {
    **dict.fromkeys(("tr", "az"), str.maketrans(_YEH | _KAF | _DOTTED_I)),
    **dict.fromkeys(("fa", "prs", "ur", "ckb"), str.maketrans(_YEH | _KAF | {"ى": "ی"})),
    "ro": str.maketrans(_YEH | _KAF | _COMMA_BELOW),
    "ar": str.maketrans({"ی": "ي", "ک": "ك"}),
    "ps": str.maketrans(_KAF),  # has both yehs
    "sd": str.maketrans(_YEH),  # has another kaf
}
_TATWEEL = "ـ"  # stretches a word
# The Unicode Standard's older spelling of letters that have a code point of their own now, by a zero-width joiner.
_JOINED = {
    "ണ്\u200d": "ൺ",  # the six chillus of Malayalam
    "ന്\u200d": "ൻ",
    "ര്\u200d": "ർ",
    "ല്\u200d": "ൽ",
    "ള്\u200d": "ൾ",
    "ക്\u200d": "ൿ",
    "ত্\u200d": "ৎ",  # Bengali khanda ta
}
_SELECTOR = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # of a sign's variant
_JOINERS = "'·-"  # the hyphen last, as a character class wants it
_JOINER = re.compile(f"[{_JOINERS}]")
_LOOSE_JOINER = re.compile(rf"(?<![^\s{_JOINERS}])[{_JOINERS}]|[{_JOINERS}](?![^\s{_JOINERS}])")


def _spaced(text: str) -> str:
    """Keep letters, digits, marks on them and joiners, drop what shows nothing of its own, and make all else a space.

    Decimal digits of any script are 0 to 9.

    A mark on nothing is what NFKC leaves of a quote such as ¨, and a selector or frame what an emoji leaves.
    """
    kept, is_base = [], False
    for character in text:
        category = unicodedata.category(character)
        if category in {"Cf", "Me"} or character == _TATWEEL or _SELECTOR.match(character):
            continue
        if category[0] == "M":
            kept += [character] * is_base
            continue
        is_base = category[0] in "LN"
        kept.append(str(unicodedata.decimal(character, character)) if is_base or character in _JOINERS else " ")
    return "".join(kept)


def words(text: str, language: str | None = None) -> str:
    """Return lower-case words with single spaces between them, diacritics kept, in any language.

    Hyphens, apostrophes and middle dots stay inside a word (`colle-lo`, `l'aigua`, `col·legi`) and go elsewhere, and
    everywhere in languages without spaces between words; other punctuation and symbols are spaces. Combining marks stay
    on letters and digits, as scripts of India need them.

    What is written in several ways is folded:

    - I is the capital of dotless ı, and İ of i, in Turkish and Azeri; elsewhere İ is an i too.
    - U+02BB and U+02BC (Uzbek, Hawaiian), Hebrew geresh and the Armenian apostrophe are apostrophes; maqaf is a hyphen.
    - Arabic and Persian yeh and kaf are one letter each, of the Arabic form in Arabic and the Persian form elsewhere;
      in Persian, Urdu and Central Kurdish a yeh without dots is one too. Pashto's yehs and Sindhi's kafs stay apart.
    - Tatweel and the Armenian marks within words (՛ ՜ ՞) are dropped.
    - Malayalam chillus and Bengali khanda ta are one character each, not a letter, a virama and a zero-width joiner.
    - Decimal digits are 0 to 9 in every script.
    - s and t with a cedilla have a comma below, in Romanian.

    Args:
        text: of a reference or a hypothesis.
        language: its code, such as `tr` or `zh-TW`; None: what is folded in most languages.
    """
    compatible = unicodedata.normalize("NFKC", text.translate(_ONE_WAY))
    lowered = compatible.translate(_LETTERS.get(base_code(language), _PERSIAN)).lower().replace("i\u0307", "i")
    composed = unicodedata.normalize("NFKC", lowered).translate(_ONE_WAY)
    for sequence, letter in _JOINED.items():
        composed = composed.replace(sequence, letter)
    dropped = _LOOSE_JOINER if separates_words(language or "") else _JOINER
    return " ".join(dropped.sub(" ", _spaced(composed)).split())


@cache
def _basic_text_normalizer() -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer  # takes a second

    normalizer: Callable[[str], str] = BasicTextNormalizer(remove_diacritics=False)
    return normalizer


def whisper_basic(text: str, language: str | None = None) -> str:
    """Normalise as the Whisper paper does for languages other than English; the same in each of them.

    Diacritics stay where letter and mark have one code point (é). All other combining marks are spaces: words of Hindi
    or Thai, among others (`raywce.evaluation.writing.has_vowel_signs`), are split at their vowel signs. What stands in
    brackets is dropped, and words are split at hyphens and apostrophes.
    Source: `transformers.models.whisper.english_normalizer.BasicTextNormalizer`.
    """
    return _basic_text_normalizer()(text).strip()


NORMALIZERS: dict[str, Normalizer] = {"words": words, "whisper_basic": whisper_basic}
_VERSIONS = {"words": 4, "whisper_basic": 1}  # raise one when its output changes for any text


def versioned_name(name: str) -> str:
    """Return the normaliser's name as results carry it, for example `words/4`."""
    return f"{name}/{_VERSIONS[name]}"
