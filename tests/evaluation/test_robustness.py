from __future__ import annotations

from raywce.evaluation.counts import EditCounts
from raywce.evaluation.robustness import NOTHING, SENTENCE, TRANSFORMERS, Robustness, named, robustness, said_to_nothing
from raywce.evaluation.utterances import UtteranceResult, score, to_table


def row(language: str, name: str, reference: str, hypothesis: str, seconds: float = 2.0) -> UtteranceResult:
    return score(
        id=name,
        language=language,
        language_token=language,
        speaker=None,
        duration=seconds,
        reference=reference,
        hypothesis=hypothesis,
        normalizer="words",
        detected_language=None,
        truncated=False,
    )


def test_figures_are_counts_added_up_by_language_and_kind() -> None:
    nothing = [
        row("gl", "silence of 2 s", "", "Grazas!"),
        row("gl", "noise of 2 s", "", ""),
        row("es", "x: y", "", "..."),
    ]
    sentences = [row("gl", "1", "ola a todos", "ola a todos"), row("gl", "2", "bos días", "bos dias")]
    long = [row("gl", "gl 0", "ola a todos bos días", "ola todos", 61.0), row("gl", "gl 1", "ola", "ola", 70.5)]
    rows = [
        *named(NOTHING, nothing),
        *named(SENTENCE, sentences),
        *named(TRANSFORMERS, long),
        *named("other", long[:1]),
    ]
    table = to_table(rows)
    found = robustness(table)
    assert found["gl"] == Robustness(
        clips=2,
        clips_with_text=1,
        words=1,
        pieces=2,
        seconds=131.5,
        sentences=EditCounts(hits=4, substitutions=1),
        long={TRANSFORMERS: EditCounts(hits=3, deletions=3), "other": EditCounts(hits=2, deletions=3)},
    )
    assert found["es"] == Robustness(1, 0, 0, 0, 0, EditCounts(), {}), "punctuation is no word"
    assert said_to_nothing(table) == ["Grazas!"]


def test_where_words_have_no_spaces_characters_are_counted() -> None:
    sentences = [row("ja", "1", "こんにちは", "こんにちは"), row("ja", "2", "さようなら", "さようなら")]
    whole = [row("ja", "ja 0", "こんにちは さようなら", "こんにちはさようなう", 61.0)]
    found = robustness(to_table([*named(SENTENCE, sentences), *named(TRANSFORMERS, whole)]))["ja"]
    assert found.sentences == EditCounts(hits=10)
    assert found.long[TRANSFORMERS] == EditCounts(hits=9, substitutions=1)
