from __future__ import annotations

import pyarrow as pa
import pytest

from raywce.evaluation.metric import Metric
from raywce.evaluation.paired import paired_errors
from tests.search.decoded_tables import SPEAKERS, UTTERANCES, WORDS, decoded

METRIC = Metric("wer", "normalized")


def test_errors_stand_side_by_side_in_the_order_of_the_ids() -> None:
    one, other = decoded({"gl": 0.5, "es": 0.1}), decoded({"gl": 0.2, "es": 0.1}, seed=1)
    backwards = other.take(list(reversed(range(len(other)))))
    found = paired_errors([one, backwards], "gl", METRIC)
    assert found.errors.shape == (2, UTTERANCES)
    assert found.errors.sum(1).tolist() == [0.5 * UTTERANCES * WORDS, 0.2 * UTTERANCES * WORDS]
    expected = [row["words_normalized_substitutions"] for row in other.to_pylist() if row["language"] == "gl"]
    assert found.errors[1].tolist() == expected
    assert found.words.tolist() == [WORDS] * UTTERANCES
    assert found.speakers[:2] == ("gl-0", "gl-1")
    assert len(set(found.speakers)) == SPEAKERS


def test_capped_errors_are_at_most_the_words_and_all_of_them_where_decoding_was_stopped() -> None:
    table = decoded({"gl": 0.0}).slice(0, 3)
    insertions = pa.array([WORDS + 5, 1, 0], pa.int32())
    stopped = pa.array([False, False, True])
    for name, column in (("words_normalized_insertions", insertions), ("stopped", stopped)):
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    (plain,), (capped,) = (
        paired_errors([table], "gl", metric).errors.tolist()
        for metric in (METRIC, Metric("wer", "normalized", capped=True))
    )
    assert (plain, capped) == ([WORDS + 5, 1, 0], [WORDS, 1, WORDS])


def test_other_utterances_are_refused() -> None:
    whole = decoded({"gl": 0.5})
    with pytest.raises(ValueError, match="the same utterances of gl"):
        paired_errors([whole, whole.slice(1)], "gl", METRIC)
