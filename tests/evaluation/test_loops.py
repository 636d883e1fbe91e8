from __future__ import annotations

import itertools
import time

import pytest

from raywce.evaluation.decode import TokenBound
from raywce.evaluation.loops import is_endless, is_loop, repeated_tail

WORDS = ["no", "sí", "ha", "moi", "très", "very", "ja", "la", "não", "好", "ひ", "да", "blah", "ding dong", "tic tac"]
SENTENCES = ["{}", "{}!", "Ela dixo: {}.", "{} e foise", "E el: {}, home", "O reloxo fai {} toda a noite"]
ON_PURPOSE = [
    sentence.format(joint.join([word] * times))
    for word, times, joint, sentence in itertools.product(WORDS, (2, 3, 5, 8, 12), (" ", ", "), SENTENCES)
]


def test_transcripts_that_repeat_words_on_purpose_are_no_loops() -> None:
    """Twelve characters a second, and a token for each: more tokens than Whisper's vocabulary takes."""
    assert len(set(ON_PURPOSE)) >= 500
    bound = TokenBound()
    asked = [(text, len(text) + 1 > bound.tokens(len(text) / 12, "gl", 448)) for text in ON_PURPOSE]
    assert [text for text, truncated in asked if is_loop(text, truncated)] == []


@pytest.mark.parametrize("text", ["a " * 66, "Galicia é " * 14 + "Gali", "好" * 200, "Boas tardes. " + "e foi " * 20])
def test_a_phrase_repeated_to_the_bound_is_a_loop(text: str) -> None:
    assert is_loop(text, truncated=True)
    assert is_loop(f"{text}\ufffd", truncated=True), "cut within a character"
    assert not is_loop(text, truncated=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unha frase longa que foi cortada onde remataba o espazo",
        "no no no",
        "o que pasou onte na vila foi que choveu moito e moito e moito e moito e",  # less than half of it
    ],
)
def test_a_cut_text_is_no_loop_by_itself(text: str) -> None:
    assert not is_loop(text, truncated=True)


def test_the_last_repeat_may_be_cut() -> None:
    assert repeated_tail("xabcabcabcabcab") == 14
    assert repeated_tail("abcabcabc") == 0


def test_a_long_text_takes_no_time() -> None:
    text = "".join(chr(97 + (7 * place * place + place) % 26) for place in range(2000))
    started = time.process_time()
    assert repeated_tail(text + "a" * 1000) >= 1000
    assert time.process_time() - started < 1.0


def test_people_who_repeat_themselves_are_not_stopped() -> None:
    bound = TokenBound()
    asked = [(text, bound.tokens(len(text) / 12, "gl", 448)) for text in ON_PURPOSE]
    assert [text for text, most in asked if is_endless([ord(one) for one in text], most)] == []


def test_a_phrase_that_fills_half_of_the_bound_is_endless() -> None:
    assert is_endless([1, 2, 3] + [7, 8] * 25, bound=100)
    assert not is_endless([1, 2, 3] + [7, 8] * 24, bound=100), "not yet half"
    assert not is_endless(list(range(10)) * 5, bound=100), "too few times"
