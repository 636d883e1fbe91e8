"""Names of languages in tables and plots."""

from __future__ import annotations

from collections.abc import Collection


def labelled(language: str, watched: Collection[str]) -> str:
    """Return a language's code, with a word where the model is not trained on it: `it (watched)`."""
    return f"{language} (watched)" if language in watched else language
