import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
import yaml

import raywce.demo
from raywce.demo import sentences as module
from raywce.demo.sentences import LANGUAGES, SPLITS, sentences
from raywce.errors import InputError

GRAMMARS = Path(raywce.demo.__file__).parent / "grammars"
SLOT = re.compile(r"{(\w+)}")
LETTERS = {
    "es": "abcdefghijlmnopqrstuvxyzáéíóúñ",
    "pt": "abcdefghijlmnopqrstuvxzáâãçéêíóõôúà",
    "fr": "abcdefghijlmnopqrstuvxyzàâçèéêîôùûœ",
    "de": "abcdefghijklmnopqrstuvwxzäöüß",
    "en": "abcdefghijklmnopqrstuvwxyz",
    "gl": "abcdefghilmnopqrstuvxzáéíóúñ",
}

each_language = pytest.mark.parametrize("language", LANGUAGES)


def first(count: int, language: str, split: str, seed: int = 0) -> list[str]:
    return list(islice(sentences(language, split, seed), count))


@cache
def many(language: str) -> list[str]:
    """The first 20,000 of train."""
    return first(20_000, language, "train")


def words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.casefold())


@cache
def grammar(language: str) -> tuple[list[str], dict[str, list[str]]]:
    """Templates and slots, as plain PyYAML reads them, all values kept as text."""
    tree = yaml.load((GRAMMARS / f"{language}.yaml").read_text(encoding="utf-8"), yaml.BaseLoader)
    return tree["sentences"], tree["slots"]


@each_language
def test_twenty_thousand_distinct_sentences(language: str) -> None:
    assert len(set(many(language))) == 20_000


@each_language
def test_sentences_are_short_and_closed(language: str) -> None:
    for text in many(language):
        assert len(text) <= 42, text
        assert 3 <= len(text.split(" ")) <= 8, text
        assert re.fullmatch(r"(¿[^?]+\?|[^¿?]+[.?])", text), text
        assert re.fullmatch(r"¿?[^\W\d_a-zà-ÿ].*", text), text
        assert not re.search(r"[{}\d_]|\s\s|\s[.,?]", text), text
        assert text == unicodedata.normalize("NFC", text.strip())


@each_language
def test_sentences_are_spelt_in_the_letters_of_the_language(language: str) -> None:
    used = set("".join(many(language)).lower())
    allowed = LETTERS[language] + " .,?'-" + ("¿" if language == "es" else "")
    assert used <= set(allowed), used - set(allowed)


@each_language
def test_every_slot_is_defined_and_every_word_is_said(language: str) -> None:
    templates, slots = grammar(language)
    phrases = [*templates, *(phrase for phrases in slots.values() for phrase in phrases)]
    assert {slot for phrase in phrases for slot in SLOT.findall(phrase)} == set(slots)
    written = {word for phrase in phrases for word in words(SLOT.sub(" ", phrase))}
    assert written == {word for text in many(language) for word in words(text)}
    assert 250 <= len(written) <= 400


@each_language
def test_no_alternative_is_there_twice(language: str) -> None:
    for name, phrases in grammar(language)[1].items():
        assert max(Counter(phrases).values()) == 1, name


@each_language
def test_train_says_nearly_all_that_dev_and_test_say(language: str) -> None:
    train = {word for text in first(1200, language, "train") for word in words(text)}
    said = [word for split in ("dev", "test") for text in first(200, language, split) for word in words(text)]
    assert sum(word not in train for word in said) < 0.005 * len(said)


def test_a_little_train_says_most_of_galician() -> None:
    train = {word for text in first(120, "gl", "train") for word in words(text)}
    said = [word for text in first(160, "gl", "dev") for word in words(text)]
    assert 0.75 < sum(word in train for word in said) / len(said) < 0.95


@each_language
def test_splits_never_share_a_sentence_whatever_the_seeds(language: str) -> None:
    drawn = {split: set(first(500, language, split, seed)) for seed, split in enumerate(SPLITS, 3)}
    drawn["train"] |= set(many(language))
    assert not drawn["train"] & drawn["dev"]
    assert not drawn["train"] & drawn["test"]
    assert not drawn["dev"] & drawn["test"]


def test_what_two_languages_both_say_is_in_one_split() -> None:
    held_out = {text for language in LANGUAGES for split in ("dev", "test") for text in first(500, language, split)}
    assert not held_out & {text for language in LANGUAGES for text in many(language)}


@each_language
def test_a_seed_is_an_order(language: str) -> None:
    assert first(50, language, "train", 1) == first(50, language, "train", 1)
    assert first(50, language, "train", 1) != first(50, language, "train", 2)
    assert first(300, language, "dev")[:50] == first(50, language, "dev")


def test_another_process_draws_the_same() -> None:
    program = (
        "from itertools import islice; from raywce.demo.sentences import *\n"
        "for language in LANGUAGES:\n"
        "    for split in SPLITS:\n"
        "        print(*islice(sentences(language, split, 7), 20), sep='\\n')"
    )
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, encoding="utf-8", check=True
        )
        here = [text for language in LANGUAGES for split in SPLITS for text in first(20, language, split, 7)]
        assert done.stdout.splitlines() == here


def test_it_ends_and_train_has_eight_tenths(monkeypatch: pytest.MonkeyPatch) -> None:
    words = tuple(first + second for first in "bcdf" for second in "aeiou")
    small = module._Grammar(("{one} {two} {three}",), dict.fromkeys(("one", "two", "three"), words))
    monkeypatch.setattr(module, "_grammar", lambda language: small)
    counts = {split: sum(1 for _ in sentences("de", split)) for split in SPLITS}
    assert sum(counts.values()) == pytest.approx(len(words) ** 3, rel=0.01)
    assert counts["train"] / sum(counts.values()) == pytest.approx(0.8, abs=0.03)
    assert counts["dev"] / counts["test"] == pytest.approx(1, abs=0.1)


def test_unknown_names_are_all_said_at_once() -> None:
    with pytest.raises(InputError) as caught:
        sentences("xx", "validation")
    assert [problem.path for problem in caught.value.problems] == ["language", "split"]
    assert str(caught.value).splitlines() == [
        "language: must be one of es, pt, fr, de, en, gl, but got xx",
        "split: must be one of train, dev, test, but got validation",
    ]
