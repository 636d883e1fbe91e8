"""Sentences of a small world in six languages: drawn from the grammars beside this module, split by their text."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from raywce.errors import Problems
from raywce.experiment import text as yaml_text

LANGUAGES = ("es", "pt", "fr", "de", "en", "gl")
SPLITS = ("train", "dev", "test")
MAX_CHARACTERS = 42
WORDS = range(3, 9)

_TENTHS = ("dev", "test", *("train",) * 8)
_PATIENCE = 20_000
_SLOT = re.compile(r"{(\w+)}")
_FIRST_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class _Grammar:
    """Templates of sentences, and the words and phrases that fill their slots."""

    sentences: tuple[str, ...]
    slots: dict[str, tuple[str, ...]]

    def draw(self, rng: random.Random) -> str:
        """A sentence: each choice is even among its alternatives."""
        filled = self._fill(_choice(self.sentences, rng), rng)
        return _FIRST_LETTER.sub(lambda letter: letter[0].upper(), filled, count=1)

    def _fill(self, template: str, rng: random.Random) -> str:
        return _SLOT.sub(lambda slot: self._fill(_choice(self.slots[slot[1]], rng), rng), template)


def sentences(language: str, split: str, seed: int = 0) -> Iterator[str]:
    """Distinct sentences of a language and split, in an order that follows from the seed.

    Each has 3 to 8 words and at most 42 characters. The split of a sentence follows from its text alone, so that no
    sentence is in two splits, whatever the seeds. It ends when the grammar has no more, or no new one in a long while.

    Args:
        language: one of `LANGUAGES`.
        split: one of `SPLITS`: train has eight tenths of the sentences, dev and test one each.
        seed: another one gives the sentences in another order.

    Raises:
        InputError: no such language or split.
    """
    problems = Problems()
    if language not in LANGUAGES:
        problems.add("language", f"must be one of {', '.join(LANGUAGES)}", language)
    if split not in SPLITS:
        problems.add("split", f"must be one of {', '.join(SPLITS)}", split)
    problems.raise_any()
    return _distinct(_grammar(language), split, random.Random(f"{language} {split} {seed}"))


def _distinct(grammar: _Grammar, split: str, rng: random.Random) -> Iterator[str]:
    seen: set[str] = set()
    in_vain = 0
    while in_vain < _PATIENCE:
        sentence = grammar.draw(rng)
        if sentence in seen or not _fits(sentence) or _split_of(sentence) != split:
            in_vain += 1
            continue
        in_vain = 0
        seen.add(sentence)
        yield sentence


def _fits(sentence: str) -> bool:
    return len(sentence) <= MAX_CHARACTERS and len(sentence.split()) in WORDS


def _split_of(sentence: str) -> str:
    return _TENTHS[zlib.crc32(sentence.encode()) % len(_TENTHS)]


def _choice(alternatives: tuple[str, ...], rng: random.Random) -> str:
    """Even among them, from `Random.random` alone: the one method that Python keeps the same over its versions."""
    return alternatives[int(rng.random() * len(alternatives))]


@cache
def _grammar(language: str) -> _Grammar:
    tree = yaml_text.read(Path(__file__).parent / "grammars" / f"{language}.yaml")
    return _Grammar(tuple(tree["sentences"]), {name: tuple(words) for name, words in tree["slots"].items()})
