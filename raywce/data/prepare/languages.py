"""Languages as tables, folders and options write them: codes, regions and names of Whisper, ISO 639 and CLDR."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import langcodes
from langcodes import Language
from langcodes.tag_parser import LanguageTagError

from raywce.data.prepare.splits import without_splits

_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
_NAME = re.compile(r"[A-Za-z]{2,3}(?:-(?:[A-Za-z]{2}|[A-Za-z]{4}|\d{3}|[A-Za-z0-9]{5,8}))*")  # no three letters: hi-res
_NO_LANGUAGE = {"mis", "mul", "und", "zxx"}  # ISO 639: without a code, several, undetermined, no speech
_MISSING = {"nan"}  # what pandas writes for an empty cell, far more often than Min Nan without its region
_OUTSIDE_CLDR = {"tok"}
_MANY_SPEAKERS = 1_000_000
# Languages of Common Voice and FLEURS with fewer speakers, or that CLDR doesn't count.
_RECORDED = """
ady arn ast bas btv bxr cmn cnh dar dav dsb gom guc haw hbo hch hsb jbo jqr kea kmr koo lad lij lke ltg lth lus lzz maj
mau mbf mdf mhr mmc mrj myv ndi nhe nhi nia nmz nsy pez pne qup qur qus qux quy rap rwm sah sba sei syr szy tob tok top
trv tsz tui tyv tyz udm vot xkl yaq yav yrl yua zoc
"""
# Codes that a folder's or file's name more likely has as a word.
_WORDS = """
ada als ban bar bin cwd div fan fat her lag mac mad mag man mas may men mfa min new pam per run sid son src sun ton tts
war
"""
_WORDS_BESIDE_A_SPLIT = f"{_WORDS} cv my to"  # my_train, cv-test
_KINDS = re.compile(r"chinese|kurdish|arabic|creole|language|\(.*|.*\)", re.IGNORECASE)  # behind a language's name
_PLAIN_WORDS = re.compile(r"metadata|manifest|of|\d{4,}", re.IGNORECASE)

LanguageMap = Mapping[str, str]
"""Language codes by the text of a column or the name of a folder or file, as `map_key` writes it."""
_NO_MAP: LanguageMap = {}


class ReadLanguage(NamedTuple):
    """A language's code and the text it was read from (`zh` from `zh-HK`)."""

    code: str
    written: str


def map_key(text: str) -> str:
    """Return the form in which texts for a language are compared: lower case, hyphens."""
    return text.strip().lower().replace("_", "-")


def is_code(text: str) -> bool:
    """Return whether a text is a language's code, with or without region and script (`yue`, `zh-HK`)."""
    return bool(_TAG.fullmatch(text)) and _of_tag(text) is not None


def read_language(value: str, mapping: LanguageMap = _NO_MAP) -> ReadLanguage | None:
    """Return the language that a column's or option's text stands for, None where it stands for none.

    The code is Whisper's where it has one (`nb` is `no`; `eng` is `en`; `cmn_hans_cn` and `Mandarin Chinese` are `zh`),
    else the shortest one of ISO 639 (`Asturian` is `ast`).

    Args:
        value: a code, with or without region and script, or a name.
        mapping: codes that come before all this.
    """
    code = mapping.get(map_key(value)) or language_of(value)
    return ReadLanguage(code, value.strip()) if code else None


def language_of(value: str | None) -> str | None:
    """Return the code of `read_language` alone."""
    value = (value or "").strip()
    return _of_text(value) if value else None


def language_of_name(name: str, mapping: LanguageMap = _NO_MAP) -> ReadLanguage | None:
    """Return the language that a folder or file is named after, None for most names.

    Stricter than `read_language`, as any name is looked at: a code with or without region and script (`gl`, `pt_br`),
    or the language's name in English or in itself (`galician`, `galego`), alone or beside a split (`gl_train`).
    """
    code = mapping.get(map_key(name)) or _of_name(name)
    return ReadLanguage(code, name) if code else None


def merged(counts: Mapping[ReadLanguage, int]) -> dict[str, dict[str, int]]:
    """Return the rows of each text, for the languages that more than one variety was read as (`zh-HK` and `zh-CN`)."""
    varieties: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for language, rows in counts.items():
        varieties[language.code][_variety(language)][language.written] += rows
    return {
        code: {written: rows for texts in of_code.values() for written, rows in texts.most_common()}
        for code, of_code in sorted(varieties.items())
        if len(of_code) > 1
    }


def _variety(language: ReadLanguage) -> str:
    """Return language, script and region in full, so that `pt`, `pt_br` and `Portuguese` are one variety."""
    found = _tag(language.written) or _by_name(language.written) or _tag(language.code) or Language.get("und")
    full = found.prefer_macrolanguage().maximize()
    return f"{full.language}-{full.script}-{full.territory}"


@lru_cache(maxsize=4096)
def _of_text(value: str) -> str | None:
    if value.lower() in _MISSING:
        return None
    return _of_tag(value) or _code(_by_name(value))


def _of_tag(value: str) -> str | None:
    return _codes_of_whisper().get(value.lower()) or _code(_tag(value))


@lru_cache(maxsize=4096)
def _of_name(name: str) -> str | None:
    words = [word for word in re.split(r"[\W_]+", name) if word]
    if words and (code := _of_words(words, _WORDS.split())):
        return code
    left = [word for word in without_splits(words) if not _PLAIN_WORDS.fullmatch(word)]
    return _of_words(left, _WORDS_BESIDE_A_SPLIT.split()) if left and left != words else None


def _of_words(words: list[str], not_languages: list[str]) -> str | None:
    tag = "-".join(words)
    if tag.lower() in (*not_languages, *_MISSING):
        return None
    if _NAME.fullmatch(tag):
        found = _tag(tag)
        if found and langcodes.tag_is_valid(tag) and _is_known(found, tag):
            return _of_tag(tag)
    if tag.lower() in _OUTSIDE_CLDR:
        return tag.lower()
    name = " ".join(words).lower()
    found = _by_name(name)
    if found and name in _names(found) and _is_known(found, name):
        return _code(found)
    return None


def _names(language: Language) -> set[str]:
    """Return the names that a folder may have for a language, Whisper's among them."""
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    whispers = {name for name, code in TO_LANGUAGE_CODE.items() if code == _code(language)}
    return {language.display_name("en").lower(), language.autonym().lower(), *whispers}


def _is_known(language: Language, written: str) -> bool:
    """Return whether a name would have this code for a language: a third of all three-letter words are codes."""
    primary = written.lower().split("-")[0]
    if len(primary) == 2:
        return language.language == primary or primary in _codes_of_whisper()  # not a withdrawn one (in, iw)
    code = str(language.prefer_macrolanguage().language)
    if "-" in written or len(code) == 2 or language.language in _RECORDED.split():
        return True
    return bool(language.speaking_population() >= _MANY_SPEAKERS)


def _tag(value: str) -> Language | None:
    """Return a tag's language; its region and script may be unknown ones."""
    if not _TAG.fullmatch(value):
        return None
    primary = Language.get(re.split("[-_]", value)[0])
    if not (primary.is_valid() or primary.language in _OUTSIDE_CLDR):
        return None
    if primary.language in _NO_LANGUAGE or re.fullmatch("q[a-t].", str(primary.language)):  # the latter for private use
        return None
    try:
        return Language.get(value)
    except LanguageTagError:
        return primary


def _by_name(value: str) -> Language | None:
    """Return a name's language; langcodes would also take the first word of `Male speaker` for a name of Malay."""
    name = re.sub(r"[\s_]+", " ", value)
    found = _find(name)
    head, _, tail = name.rpartition(" ")
    if not head or found is None or name.lower() in _names(found) or _KINDS.fullmatch(tail):
        return found
    return None if _find(head) == found else found


def _find(name: str) -> Language | None:
    if name.isascii() and len(name) < 4:
        return None
    try:
        return langcodes.find(name)
    except (LookupError, UnicodeEncodeError):  # no such name; bytes that are not UTF-8
        return None


def _code(language: Language | None) -> str | None:
    """Return Whisper's code for a language, also by its macrolanguage (cmn: zh), else that of ISO 639."""
    if language is None or language.language is None:
        return None
    whispers = _codes_of_whisper()
    macrolanguage = language.prefer_macrolanguage().language
    return whispers.get(language.language) or whispers.get(macrolanguage or "") or str(language.language)


@lru_cache(maxsize=1)
def _codes_of_whisper() -> Mapping[str, str]:
    """Return Whisper's codes by their own and by ISO 639's, where the two differ (jv: jw, fil: tl)."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    by_iso = {str(Language.get(code).language): code for code in LANGUAGES}
    return by_iso | {"nb": "no"} | {code: code for code in LANGUAGES}
