from __future__ import annotations

import unicodedata

import pytest

from raywce.evaluation.normalizer import NORMALIZERS, versioned_name, words
from raywce.evaluation.settings import DecodeSettings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A miña avó, non o avô!", "a miña avó non o avô"),
        ("Hai que colle-lo xa.", "hai que colle-lo xa"),
        ("– Colle-lo – dixo – ou non - dixo", "colle-lo dixo ou non dixo"),
        ("L’aigua del col·legi d'en Pau", "l'aigua del col·legi d'en pau"),
        ("coŀlegi i COL∙LEGI", "col·legi i col·legi"),
        ("'tis the dogs' o´clock", "tis the dogs o'clock"),
        ("-- rock--roll --", "rock roll"),
        ("¿Qué?  ¡Sí!\t\nClaro…", "qué sí claro"),
        ("hello,world", "hello world"),
        ("Straße", "straße"),
        ("5 € + 3% & más", "5 3 más"),
        ("ﬁn Ａ", "fin a"),
        ("हिन्दी में।", "हिन्दी में"),
        ("co\u00adoperar\u200b", "cooperar"),
        ("(entre) [parénteses]", "entre parénteses"),
        ("", ""),
        (" .,- ", ""),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert words(text) == unicodedata.normalize("NFC", expected)


@pytest.mark.parametrize("text", ["avó", "l'aigua", "canción", "colle-lo"])
def test_words_is_blind_to_unicode_composition_and_case(text: str) -> None:
    assert words(unicodedata.normalize("NFD", text)) == words(text.upper()) == text


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("tr", "ISPARTA, İzmir ve Iğdır", "ısparta izmir ve ığdır"),
        ("az-AZ", "QIZ və İNƏK", "qız və inək"),
        (None, "İzmir, Izmir", "izmir izmir"),
        ("lt", "I\u0307\u0301", "í"),  # the dot that Lithuanian writes beside an accent
        ("uz", "oʻzbek, O\u2018ZBEK, oʼzbek", "o'zbek o'zbek o'zbek"),
        ("he", "ג׳ירפה ג'ירפה בית־ספר", "ג'ירפה ג'ירפה בית-ספר"),
        ("ro", "Ştiinţă, ȘTIINȚĂ", "știință știință"),
        ("tr", "Şişli", "şişli"),
        ("fa", "كتاب‌هاي علي و حتى", "کتابهای علی و حتی"),
        ("ar", "کتاب علی", "كتاب علي"),
        ("ar", "على علي", "على علي"),  # "on" and a name
        ("ur", "يہ كتاب", "یہ کتاب"),
        ("ps", "زموږ كور لوي دی", "زموږ کور لوي دی"),  # big (masculine) ends in the one yeh, is in the other
        ("sd", "كتاب ي", "كتاب ی"),
        (None, "يك", "یک"),
        ("ar", "كتـــاب", "كتاب"),
        ("ar", "كت\ufe77ب", "كتَب"),  # a presentation form that NFKC gives a tatweel
    ],
)
def test_words_folds_what_a_language_writes_in_several_ways(language: str | None, text: str, expected: str) -> None:
    assert words(text, language) == expected
    assert words(expected, language) == expected


@pytest.mark.parametrize("name", sorted(NORMALIZERS))
@pytest.mark.parametrize("text", ["Mr. Smith's avó won't colour 20 dollars", "İstanbul -a- b' 'c", " x´y ’z "])
def test_normalising_twice_changes_nothing(name: str, text: str) -> None:
    once = NORMALIZERS[name](text, None)
    assert NORMALIZERS[name](once, None) == once == once.strip()


@pytest.mark.parametrize("name", sorted(NORMALIZERS))
def test_none_is_the_english_normaliser(name: str) -> None:
    # The English one gives "mister", "color", "will not", "$20" and takes "hmm" out.
    text = "Hmm mr colour twenty dollars avó"
    assert NORMALIZERS[name](text, None) == text.lower()


def test_whisper_basic_keeps_diacritics_but_splits_at_hyphens() -> None:
    assert NORMALIZERS["whisper_basic"]("A avó [riso] vai colle-lo.", "gl") == "a avó vai colle lo"


def test_versioned_names() -> None:
    assert versioned_name(DecodeSettings().normalizer) == "words/2"
    assert {versioned_name(name).split("/")[0] for name in NORMALIZERS} == set(NORMALIZERS)
