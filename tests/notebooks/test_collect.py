"""Tables of a run that can be shown to anybody: counts without words, ids and names."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from notebooks.study_tables.collect import collect, collect_evaluated
from raywce.evaluation.utterances import errors, reference_lengths, to_table
from tests.evaluation.test_robustness import row
from tests.notebooks.made_runs import made_run
from tests.search import surrogate

SAID = (("original", "unha cousa"), ("winner", "unha casa"))


def test_a_run_without_what_was_said(tmp_path: Path) -> None:
    run = made_run(surrogate.load_file(tmp_path, confirm={"candidates": 2, "seeds": 3, "resamples": 200}))
    collect(run, tmp_path / "out")
    whole, kept = (pq.read_table(folder / "utterances.parquet") for folder in (run, tmp_path / "out"))
    group = "words_normalized"
    assert (errors(kept, group, capped=True) == errors(whole, group, capped=True)).all()
    assert (reference_lengths(kept, group) == reference_lengths(whole, group)).all()
    assert len(set(kept["id"].to_pylist())) == len(set(whole["id"].to_pylist()))
    names = {column: set(whole[column].to_pylist()) for column in ("id", "speaker", "reference", "hypothesis")}
    said = set().union(*names.values())
    for column in kept.columns:
        assert not said & set(column.to_pylist())
    by_speaker = [table.group_by(["language", "speaker"]).aggregate([([], "count_all")]) for table in (whole, kept)]
    assert by_speaker[0]["count_all"].to_pylist() == by_speaker[1]["count_all"].to_pylist()
    trials = pq.read_table(run / "trials.parquet").drop_columns("utterances")
    shown = pq.read_table(tmp_path / "out" / "trials.parquet")
    assert shown.equals(trials.filter(pc.field("final")))
    assert str(tmp_path) not in str(shown.to_pylist()) + (tmp_path / "out" / "outcome.json").read_text()
    assert json.loads((tmp_path / "out" / "outcome.json").read_text())["confirmation"]


def test_tables_of_evaluate_become_one(tmp_path: Path) -> None:
    evaluated = {name: to_table([row("gl", f"gl/{of}", "unha casa", said) for of in (1, 2)]) for name, said in SAID}
    for name, table in evaluated.items():
        (tmp_path / "unheard").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "unheard" / f"{name}.parquet")
    collect_evaluated(tmp_path / "unheard", tmp_path / "out")
    kept = pq.read_table(tmp_path / "out" / "utterances.parquet")
    assert kept["trial_id"].to_pylist() == ["original", "original", "winner", "winner"]
    assert errors(kept, "words_normalized", capped=True).tolist() == [1, 1, 0, 0]
    assert len(set(kept["id"].to_pylist())) == 2
    assert not {"reference", "hypothesis"} & set(kept.column_names)
