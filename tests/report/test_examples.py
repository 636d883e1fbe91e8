from __future__ import annotations

import jiwer

from raywce.evaluation.metric import Metrics
from raywce.report.examples import MOST, Column, Word, aligned, examples_of
from tests.report.made_runs import ORIGINAL_RATES, decode

METRICS = Metrics("wer_normalized", False, ("gl",), tuple(ORIGINAL_RATES))


def test_both_hypotheses_stand_under_the_words_of_the_reference() -> None:
    found = aligned(["o", "can", "come", "pan"], ["o", "gato", "come"], ["eh", "o", "can", "moi", "come", "pan", "si"])
    hit = {word: [Word("hit", word)] for word in ("o", "can", "come", "pan")}
    assert found == [
        Column(None, [], [Word("insertion", "eh")]),
        Column("o", hit["o"], hit["o"]),
        Column("can", [Word("substitution", "gato")], hit["can"]),
        Column(None, [], [Word("insertion", "moi")]),
        Column("come", hit["come"], hit["come"]),
        Column("pan", [Word("deletion", "pan")], hit["pan"]),
        Column(None, [], [Word("insertion", "si")]),
    ]


def test_an_empty_hypothesis_leaves_every_word_out() -> None:
    (column,) = aligned(["pan"], [], ["pan"])
    assert column == Column("pan", [Word("deletion", "pan")], [Word("hit", "pan")])


def test_an_empty_reference_has_insertions_only() -> None:
    assert aligned([], [], ["pan"]) == [Column(None, [], [Word("insertion", "pan")])]


def test_the_largest_gains_and_losses_come_first_and_are_counted() -> None:
    worse, better = decode(ORIGINAL_RATES, "baseline"), decode(dict.fromkeys(ORIGINAL_RATES, 0.2), "chosen")
    found = examples_of(worse, better, ["one", "other"], METRICS)
    assert found.better + found.worse + found.same == worse.num_rows
    assert len(found.gains) == MOST
    changes = [after - before for before, after in (one.errors for one in found.gains)]
    assert changes == sorted(changes)
    assert all(after > before for before, after in (one.errors for one in found.losses))
    for one in found.gains:  # the errors of the columns are those that were counted
        for place, name in enumerate(("baseline", "chosen")):
            words = [word for column in one.columns for word in getattr(column, name)]
            assert sum(word.kind != "hit" for word in words) == one.errors[place]
            assert " ".join(word.text for word in words if word.kind != "deletion") == getattr(one, name)


def test_a_language_judged_by_its_cer_is_aligned_by_characters() -> None:
    metrics = Metrics("auto", False, ("gl", "zh"), ("gl", "zh"))
    rates = {"gl": 0.4, "zh": 0.3}
    worse, better = decode(rates, "baseline"), decode(dict.fromkeys(rates, 0.1), "chosen")
    found = examples_of(worse, better, ["one", "other"], metrics)
    assert {one.language: one.counted for one in found.gains} == {"gl": "word", "zh": "character"}
    for one in found.gains:
        count = jiwer.process_characters if one.language == "zh" else jiwer.process_words
        for place, text in enumerate((one.baseline, one.chosen)):
            output = count(one.reference.replace(" ", "") if one.language == "zh" else one.reference, text)
            assert one.errors[place] == output.substitutions + output.deletions + output.insertions
    chinese = next(one for one in found.gains if one.language == "zh")
    assert [column.reference for column in chinese.columns if column.reference] == list(chinese.reference)
