"""Names of languages in tables and plots."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

ONE_KIND: Mapping[str, str] = MappingProxyType({})
"""Marks of languages that all have a rate of one kind."""


def labelled(language: str, watched: Collection[str], marks: Mapping[str, str] = ONE_KIND) -> str:
    """Return a language's code, with its rate and a word where the model is not trained on it: `ja (CER, watched)`.

    Args:
        language: the code.
        watched: languages that are not trained on.
        marks: `WER` or `CER` by language, where both are shown.
    """
    notes = [marks[language]] if language in marks else []
    notes += ["watched"] if language in watched else []
    return f"{language} ({', '.join(notes)})" if notes else language
