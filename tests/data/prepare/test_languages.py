from __future__ import annotations

import pytest

from raywce.data.prepare.languages import ReadLanguage, is_code, language_of, language_of_name, merged, read_language


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("gl", "gl"),
        ("GL", "gl"),
        ("sv-SE", "sv"),
        ("gl_es", "gl"),
        ("es_419", "es"),
        ("en-UK", "en"),
        ("Galician", "gl"),
        ("galego", "gl"),
        ("Asturian", "ast"),
        ("Lao", "lo"),
        ("Mandarin Chinese", "zh"),
        ("English (US)", "en"),
        ("eng", "en"),
        ("swh", "sw"),
        ("pes", "fa"),
        ("ast", "ast"),
        ("kmr", "kmr"),
        ("tok", "tok"),
        ("cmn_hans_cn", "zh"),
        ("yue_hant_hk", "yue"),
        ("nan-tw", "nan"),
    ],
)
def test_a_value_is_read_by_code_region_script_or_name(value: str, expected: str) -> None:
    assert language_of(value) == expected


@pytest.mark.parametrize(("value", "expected"), [("nb-NO", "no"), ("nn", "nn"), ("jv", "jw"), ("fil_ph", "tl")])
def test_whispers_own_code_comes_first(value: str, expected: str) -> None:
    assert language_of(value) == expected


@pytest.mark.parametrize(
    "value",
    ["none known", "", None, "xx", "zz-ZZ", "v2", "und", "mul", "qaa", "nan", "a", "gl, es", "\udce1", "-", "7"],
)
def test_what_is_no_language(value: str | None) -> None:
    assert language_of(value) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gl", "gl"),
        ("EN", "en"),
        ("pt_br", "pt"),
        ("cmn_hans_cn", "zh"),
        ("eng", "en"),
        ("fin_Latn", "fi"),
        ("ast", "ast"),
        ("pcm", "pcm"),
        ("asturian", "ast"),
        ("Galego", "gl"),
        ("mandarin", "zh"),
        ("gl_train", "gl"),
        ("dev.pt-BR", "pt"),
        ("gl-train-00000-of-00002", "gl"),
        ("train_manifest_gl", "gl"),
        ("my", "my"),
    ],
)
def test_folders_and_files_named_after_a_language(name: str, expected: str) -> None:
    assert language_of_name(name) == ReadLanguage(expected, name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "wav",
            "raw",
            "tmp",
            "new",
            "run",
            "mic",
            "audio",
            "speech",
            "in",
            "out",
            "xx",
            "v2",
            "iw",
            "even",
            "male",
            "src",
        ),
        *("my_train", "cv_dev", "cv-corpus-17.0-2024-03-15", "my_data", "tr_data", "hi_res", "uk_english"),
        *("train", "metadata", "train-00000-of-00002", "validated"),
    ],
)
def test_most_names_say_no_language(name: str) -> None:
    assert language_of_name(name) is None


def test_a_map_comes_first() -> None:
    mapping = {"zh-hk": "yue", "speech-gl": "gl"}
    assert read_language("zh_HK", mapping) == ReadLanguage("yue", "zh_HK")
    assert read_language("zh-CN", mapping) == ReadLanguage("zh", "zh-CN")
    assert language_of_name("speech_gl", mapping) == ReadLanguage("gl", "speech_gl")


@pytest.mark.parametrize(
    ("text", "expected"), [("yue", True), ("zh-HK", True), ("Galician", False), ("xx", False), ("../gl", False)]
)
def test_is_code(text: str, expected: bool) -> None:
    assert is_code(text) is expected


def test_varieties_of_one_language_are_told_from_spellings() -> None:
    spellings = {ReadLanguage("gl", text): 1 for text in ("gl", "gl_es", "Galician", "glg", "gl_train")}
    varieties = {ReadLanguage("zh", "zh-HK"): 2, ReadLanguage("zh", "zh-CN"): 3, ReadLanguage("zh", "cmn_hans_cn"): 4}
    assert merged(spellings) == {}
    assert merged(spellings | varieties) == {"zh": {"zh-HK": 2, "cmn_hans_cn": 4, "zh-CN": 3}}
