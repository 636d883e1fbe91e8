from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from raywce.evaluation.rates import rates_by_language
from raywce.experiment.schema import Languages
from raywce.experiment.space import Distribution, Scalar
from raywce.runs.folder import RunFolder, versions
from raywce.runs.tables import Trial, TrialTable, rows_in, write_utterances
from raywce.selection.trials import BASELINE, COMPLETE, FAIL, SEARCH
from raywce.trial_report import RATES, Report
from tests.search.decoded_tables import decoded

SPACE = {
    "weighting.alpha": Distribution("uniform", (1.0, 6.0)),
    "training.optimizer.warmup_steps": Distribution("int", (0, 9)),
    "weighting.adaptive": Distribution("choice", (True, False)),
    "training.optimizer.max_gradient_norm": Distribution("choice", (None, 1, 0.5)),
    "training.optimizer.decay": Distribution("choice", ("linear", "none")),
}
LANGUAGES = Languages(low_resource=["gl"], high_resource=["es"])
VALUES: dict[str, Scalar] = {
    "weighting.alpha": 2.0,
    "training.optimizer.warmup_steps": 3,
    "weighting.adaptive": True,
    "training.optimizer.max_gradient_norm": None,
    "training.optimizer.decay": "none",
}
TRIAL = Trial(SEARCH, "search-000-a", 0, VALUES)
FIRST = Trial(BASELINE, "baseline-0", 0, {"training.optimizer.decay": "linear"})


def empty() -> TrialTable:
    return TrialTable(SPACE, LANGUAGES)


def folder_of(tmp_path: Path, kind: str) -> RunFolder:
    return RunFolder.of(str(tmp_path) if kind == "path" else f"file://{tmp_path}", "toy")


def test_columns_have_the_types_of_the_distributions() -> None:
    schema = empty().schema
    types = [schema.field(f"config/{path}").type for path in SPACE]
    assert types == [pa.float64(), pa.int64(), pa.bool_(), pa.float64(), pa.string()]
    assert "violation/gl" not in schema.names
    assert "alpha/es" not in schema.names
    assert {"violation/es", "alpha/gl", "wer/gl", "cer_raw/es", "wer_normalized/es", "loss/gl"} <= set(schema.names)


def test_a_watched_language_has_columns_of_what_is_measured() -> None:
    names = TrialTable(SPACE, LANGUAGES.model_copy(update={"watched": ["it"]})).schema.names
    assert {name for name in names if name.endswith("/it")} == {"violation/it", *(f"{rate}/it" for rate in RATES)}


@pytest.mark.parametrize("kind", ["path", "uri"])
def test_rows_survive_writing_and_opening(tmp_path: Path, kind: str) -> None:
    table, folder = empty(), folder_of(tmp_path, kind)
    table.record(
        TRIAL, Report.of({"step": 10, "final": False, "wer/gl": 0.5, "feasible": True, "unknown": 1, "trial_id": "no"})
    )
    table.record(FIRST, Report.of({"step": 10, "final": True}))
    table.write(folder)
    found = TrialTable.open(folder, SPACE, LANGUAGES).to_arrow().to_pylist()
    assert [row["trial_id"] for row in found] == ["baseline-0", "search-000-a"]
    assert {path: found[1][f"config/{path}"] for path in SPACE} == VALUES
    assert found[0]["config/training.optimizer.decay"] == "linear"
    assert found[0]["config/weighting.alpha"] is None
    assert found[1]["wer/gl"] == 0.5
    assert found[1]["cer/gl"] is None
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["trials.parquet"]  # nothing partial


def test_choices_of_several_kinds_are_text_in_the_file_and_read_as_they_were_drawn(tmp_path: Path) -> None:
    choices: tuple[Scalar, ...] = (None, True, 2, 2.5, "2.5", "full")
    space, folder = {"weighting.alpha": Distribution("choice", choices)}, folder_of(tmp_path, "path")
    table = TrialTable(space, LANGUAGES)
    for number, value in enumerate(choices):
        table.record(Trial(SEARCH, f"search-{number}", 0, {"weighting.alpha": value}), Report(10))
    table.write(folder)
    column = folder.read_table("trials.parquet")["config/weighting.alpha"].to_pylist()
    assert column == [None, "True", "2", "2.5", "2.5", "full"]
    drawn = [row["config/weighting.alpha"] for row in rows_in(folder, space)]
    assert [*map(repr, drawn)] == ["None", "True", "2", "'2.5'", "'2.5'", "'full'"]  # text that is a choice is meant


def test_whole_numbers_among_others_are_read_as_they_were_drawn(tmp_path: Path) -> None:
    space, folder = {"weighting.alpha": Distribution("choice", (2, 3.5))}, folder_of(tmp_path, "path")
    table = TrialTable(space, LANGUAGES)
    table.record(Trial(SEARCH, "search-0", 0, {"weighting.alpha": 2}), Report(10))
    table.write(folder)
    assert folder.read_table("trials.parquet")["config/weighting.alpha"].to_pylist() == [2.0]
    assert repr(rows_in(folder, space)[0]["config/weighting.alpha"]) == "2"


def test_the_last_report_of_a_step_counts() -> None:
    table = empty()
    for step, loss in [(10, 1.0), (20, 2.0), (20, 3.0)]:
        table.record(TRIAL, Report.of({"step": step, "loss/gl": loss}))
    assert [(row["step"], row["loss/gl"]) for row in table.of(TRIAL.trial_id)] == [(10, 1.0), (20, 3.0)]


def test_a_trials_end_is_in_all_its_rows() -> None:
    table = empty()
    table.record(TRIAL, Report.of({"step": 10}))
    table.record(TRIAL, Report.of({"step": 20}))
    table.finish(TRIAL, COMPLETE)
    assert {row["state"] for row in table.of(TRIAL.trial_id)} == {COMPLETE}


def test_rows_are_those_of_all_phases(tmp_path: Path) -> None:
    table, folder = empty(), folder_of(tmp_path, "path")
    assert rows_in(folder, SPACE) == []
    table.record(TRIAL, Report.of({"step": 10}))
    table.record(TRIAL, Report.of({"step": 20}))
    table.record(FIRST, Report.of({"step": 10}))
    table.write(folder)
    assert [row["trial_id"] for row in rows_in(folder, SPACE)] == ["baseline-0", "search-000-a", "search-000-a"]
    assert [row["step"] for row in rows_in(folder, SPACE) if row["phase"] == SEARCH] == [10, 20]


def test_a_trial_without_a_report_has_a_row_until_one_comes() -> None:
    table = empty()
    table.finish(TRIAL, FAIL, "no memory")
    (row,) = table.to_arrow().to_pylist()
    assert (row["step"], row["state"], row["reason"]) == (None, FAIL, "no memory")
    table.record(TRIAL, Report.of({"step": 10}))
    assert [row["step"] for row in table.of(TRIAL.trial_id)] == [10]


def test_a_folder_that_was_moved_has_its_utterances_with_it(tmp_path: Path) -> None:
    before, after = (RunFolder.of(str(tmp_path / place), "run") for place in ("here", "there"))
    table = TrialTable({}, LANGUAGES)
    table.record(TRIAL, Report(20, utterances=before.path("trials", TRIAL.trial_id, "utterances-20.parquet")))
    table.write(before)
    (tmp_path / "here").rename(tmp_path / "there")
    (row,) = rows_in(after, {})
    assert row["utterances"] == after.path("trials", TRIAL.trial_id, "utterances-20.parquet")


def test_a_reader_never_sees_half_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, folder = empty(), folder_of(tmp_path, "path")
    table.record(TRIAL, Report.of({"step": 10}))
    table.write(folder)

    def broken(table: pa.Table, stream: Any) -> None:
        stream.write(b"PAR1")
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", broken)
    with pytest.raises(OSError, match="no space"):
        table.write(folder)
    monkeypatch.undo()
    assert folder.read_table("trials.parquet").num_rows == 1
    assert len(list((tmp_path / "toy").iterdir())) == 1


def test_utterances_are_those_of_each_trials_last_evaluation(tmp_path: Path) -> None:
    def file(name: str) -> str:
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"id": ["1", "2"], "hypothesis": [name, name]}), path)
        return str(path)

    table, folder = empty(), folder_of(tmp_path, "path")
    table.record(FIRST, Report.of({"step": 0, "utterances": file("zero")}))
    table.record(FIRST, Report.of({"step": 20, "utterances": file("base")}))
    table.record(TRIAL, Report.of({"step": 10, "utterances": file("half")}))
    table.record(TRIAL, Report.of({"step": 20, "utterances": file("whole")}))
    table.record(TRIAL, Report.of({"step": 21}))
    for trial in (FIRST, TRIAL):
        table.finish(trial, COMPLETE)
    table.record(Trial("search", "search-001-b", 0, {}), Report.of({"step": 10, "utterances": file("running")}))
    write_utterances(folder, table)
    found = folder.read_table("utterances.parquet")
    assert found.column_names == ["phase", "trial_id", "split", "id", "hypothesis"]
    rows = {(row["phase"], row["trial_id"], row["hypothesis"]) for row in found.to_pylist()}
    assert rows == {
        ("baseline", "original", "zero"),
        ("baseline", "baseline-0", "base"),
        ("search", "search-000-a", "whole"),
    }
    assert found.num_rows == 6


def test_utterances_of_before_decoding_could_be_stopped_stand_beside_newer_ones(tmp_path: Path) -> None:
    newer, table, folder = decoded({"gl": 0.2}), empty(), folder_of(tmp_path, "path")
    for trial, rows in ((FIRST, newer.drop_columns("stopped")), (TRIAL, newer)):
        pq.write_table(rows, tmp_path / f"{trial.trial_id}.parquet")
        table.record(trial, Report(20, utterances=str(tmp_path / f"{trial.trial_id}.parquet")))
        table.finish(trial, COMPLETE)
    write_utterances(folder, table)
    found = folder.read_table("utterances.parquet")
    older = found.filter(pc.equal(found["trial_id"], "baseline-0"))
    assert older["stopped"].null_count == newer.num_rows
    assert rates_by_language(older) == rates_by_language(newer)


def test_versions_name_what_figures_depend_on() -> None:
    assert all(f'"{name}"' in versions() for name in ("python", "raywce", "ray", "torch", "transformers", "optuna"))
