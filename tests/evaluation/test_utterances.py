from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jiwer
import pyarrow.parquet as pq
import pytest

from raywce.evaluation.counts import EditCounts
from raywce.evaluation.normalizer import words
from raywce.evaluation.utterances import SCHEMA, UtteranceResult, score, to_table


def _row(**changes: object) -> UtteranceResult:
    arguments: dict[str, object] = {
        "id": "u1",
        "language": "gl",
        "language_token": "gl",
        "speaker": None,
        "duration": 2.5,
        "reference": "A avó, colle-lo.",
        "hypothesis": "a avo colle-lo xa",
        "normalizer": "words",
        "detected_language": "pt",
        "truncated": False,
    }
    return score(**{**arguments, **changes})  # type: ignore[arg-type]


def test_score_counts_raw_and_normalised_text_apart() -> None:
    row = _row()
    assert row.words_raw == EditCounts(hits=0, substitutions=3, deletions=0, insertions=1)
    assert row.words_normalized == EditCounts(hits=2, substitutions=1, deletions=0, insertions=1)
    assert (row.reference_normalized, row.hypothesis_normalized) == ("a avó colle-lo", "a avo colle-lo xa")
    assert row.characters_normalized == EditCounts(hits=13, substitutions=1, deletions=0, insertions=3)
    assert row.characters_raw.reference_length == len("A avó, colle-lo.")


def test_table_has_flat_counts_and_survives_parquet(tmp_path: Path) -> None:
    table = to_table([_row(), _row(id="u2", detected_language=None, truncated=True)], split="dev")
    pq.write_table(table, tmp_path / "utterances.parquet")
    read = pq.read_table(tmp_path / "utterances.parquet")
    assert read.schema.equals(SCHEMA)
    assert read.schema.metadata[b"normalizer"] == b"words/4"
    assert read.schema.metadata[b"split"] == b"dev"
    first, second = read.to_pylist()
    assert first["normalizer"] == "words/4"
    assert first["words_normalized_insertions"] == 1
    assert first["words_raw_substitutions"] == 3
    assert (second["detected_language"], second["truncated"], second["speaker"]) == (None, True, None)


def test_table_without_rows_keeps_its_columns() -> None:
    assert to_table([]).schema.equals(SCHEMA)


def test_rows_of_two_normalisers_make_no_table() -> None:
    with pytest.raises(ValueError, match="share a normaliser, but got whisper_basic/1, words/4"):
        to_table([_row(), _row(normalizer="whisper_basic")])
    with pytest.raises(ValueError, match="words/5"):
        to_table([_row(), replace(_row(), normalizer="words/5")])


@pytest.mark.parametrize(
    ("language", "reference", "hypothesis"),
    [
        ("zh", "今天天气很好我们去公园", "今天天气真好，我们 去公园。"),
        ("th", "วันนี้อากาศดี", "วันนี้ อากาศ ดีมาก"),
        ("ja", "東京は雨です。", "東京が、雨です"),
    ],
)
def test_spaces_are_no_characters_where_words_have_none_between_them(
    language: str, reference: str, hypothesis: str
) -> None:
    row = _row(language=language, reference=reference, hypothesis=hypothesis)
    letters = [words(text, language).replace(" ", "") for text in (reference, hypothesis)]
    assert row.characters_normalized.rate == pytest.approx(jiwer.cer(*letters))
    assert row.characters_raw.rate == pytest.approx(jiwer.cer(reference, hypothesis))


def test_dots_and_apostrophes_are_no_characters_where_words_have_no_spaces_between_them() -> None:
    counts = _row(language="ja", reference="ジョン・スミスは’90", hypothesis="ジョン·スミスが90").characters_normalized
    assert (counts.hits, counts.substitutions, counts.deletions, counts.insertions) == (8, 1, 0, 0)


def test_a_text_is_folded_as_its_own_language_wants_it() -> None:
    turkish, spanish = (_row(language=of, reference="ISPARTA", hypothesis="ısparta") for of in ("tr", "es"))
    assert (turkish.words_normalized.rate, spanish.words_normalized.rate) == (0.0, 1.0)
