from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ("Te quiero ❤️ 1️⃣", "te quiero 1"),
        ("Dijo ¨hola¨ y salió", "dijo hola y salió"),
        ("20 ˚C, 20 °C", "20 c 20 c"),
        ("ŉ boek, 'n boek", "n boek n boek"),
        ("葛\U000e0100 👩\u200d🦰 🇪🇸", "葛"),
        ("न\u200dि", "नि"),  # a joiner between a letter and its mark
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


@given(st.text())
def test_words_of_any_text_are_words_already(text: str) -> None:
    once = words(text)
    assert words(once) == once
    # A mark stands on something, or it would be a word that nobody says.
    assert all(not word or unicodedata.category(word[0])[0] != "M" for word in once.split(" "))


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
    assert versioned_name(DecodeSettings().normalizer) == "words/3"
    assert {versioned_name(name).split("/")[0] for name in NORMALIZERS} == set(NORMALIZERS)
