"""The notebooks as they are shipped, and executed on runs of every kind that they say they open."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from statistics import mean
from typing import Any

import jupytext
import nbformat
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from matplotlib import pyplot

from notebooks.execute import FOLDER, SOURCES, executed
from tests.demo_world import needs_a_voice
from tests.notebooks.made_runs import made_run
from tests.search import surrogate

ANALYZE, STUDY, REPRODUCE = (FOLDER / f"{name}.py" for name in ("analyze_trials", "catalan_study", "reproduce_paper"))
OF_ANY_RUN = [ANALYZE, REPRODUCE]
MOST_BYTES = 500_000
OF_A_MACHINE = re.compile(r"(?<![\w.])/(?:home|root|tmp|usr|var|opt|mnt|work|Users)/|[A-Z]:\\Users")
LEVELS = {"weighting": {"plain": {}, "LP": {"weighting.alpha": 2.0}, "DA": {"weighting.alpha": 4.0}}}
CONFIRM = {"candidates": 2, "seeds": 3, "resamples": 200}


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def texts(notebook: Any) -> str:
    """What is printed and shown, without the images."""
    found = [output.get("text", "") for output in outputs(notebook)]
    found += [text for output in outputs(notebook) for kind, text in output.get("data", {}).items() if "text/" in kind]
    return "\n".join(found)


def images(notebook: Any) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def is_clean(notebook: Any) -> bool:
    """Neither errors nor warnings."""
    return not [
        output for output in outputs(notebook) if output.output_type == "error" or output.get("name") == "stderr"
    ]


def test_all_are_there() -> None:
    assert SOURCES == [ANALYZE, STUDY, REPRODUCE]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_notebook_is_its_text(source: Path) -> None:
    text, notebook = jupytext.read(source), nbformat.read(source.with_suffix(".ipynb"), 4)
    cells = [[(cell.cell_type, cell.source) for cell in one.cells] for one in (text, notebook)]
    assert cells[1] == cells[0], f"python notebooks/execute.py {source.name} makes it anew"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_notebook_has_the_outputs_of_a_run(source: Path) -> None:
    path = source.with_suffix(".ipynb")
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert is_clean(notebook)
    assert images(notebook)
    assert not OF_A_MACHINE.findall(path.read_text(encoding="utf-8"))
    assert not [cell.metadata for cell in notebook.cells if "execution" in cell.metadata]
    assert path.stat().st_size < MOST_BYTES


def test_the_study_says_what_its_tables_say() -> None:
    written = nbformat.reads(nbformat.writes(executed(STUDY)), 4)
    assert texts(written) == texts(nbformat.read(STUDY.with_suffix(".ipynb"), 4))


@pytest.fixture
def execute(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A notebook on a run folder, in a kernel."""

    def execute(source: Path, run: Path) -> Any:
        monkeypatch.setenv("RAYWCE_RUN", str(run))
        return executed(source)

    return execute


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a notebook's names are after it was run in this process, which is faster than a kernel."""

    def names(source: Path, run: Path) -> dict[str, Any]:
        monkeypatch.setenv("RAYWCE_RUN", str(run))
        monkeypatch.setenv("MPLBACKEND", "agg")
        try:
            return runpy.run_path(str(source))
        finally:
            pyplot.close("all")

    return names


def searched(folder: Path, *overrides: str, alphas: tuple[float, ...] = (1.2, 1.8, 3.0), **search: Any) -> Path:
    points = [{"weighting.alpha": alpha, "training.optimizer.learning_rate": 1e-5} for alpha in alphas]
    return made_run(surrogate.load_file(folder, *overrides, points=points, trials=len(points), **search), failing=1)


def last_rows(run: Path) -> list[dict[str, Any]]:
    return [row for row in pq.read_table(run / "trials.parquet").to_pylist() if row["final"]]


def test_trials_of_two_low_resource_languages(execute: Any, tmp_path: Path) -> None:
    notebook = execute(ANALYZE, searched(tmp_path, "languages.low_resource=[gl, ast]", baseline_seeds=2))
    assert is_clean(notebook)
    assert images(notebook) == 5
    assert "3 trials, 2 of them complete" in texts(notebook)
    assert "The WERs of 4 trainings" in texts(notebook)
    assert "the 95 % interval is over other speech alone" in texts(notebook)
    assert "2 complete trials: importances need 4" in texts(notebook)
    assert "word of ast" in texts(notebook)


def test_a_wer_and_a_cer(names: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    languages = "languages={low_resource: [gl, ja], high_resource: [es], language_tokens: {ja: gl}}"
    found = names(ANALYZE, searched(tmp_path, languages, "evaluation.metric=auto", baseline_seeds=2))
    best = next(row for row in last_rows(found["run"]) if row["trial_id"] == found["best"]["trial_id"])
    baseline = found["references"]["baseline"]
    assert found["gain"].change["ja"] == pytest.approx(best["cer/ja"] - baseline["ja"])
    assert found["gain"].change["gl"] == pytest.approx(best["wer/gl"] - baseline["gl"])
    shares = [best["wer/gl"] / baseline["gl"], best["cer/ja"] / baseline["ja"]]
    assert best["objective"] == pytest.approx(mean(shares))
    assert "Points of capped WER or CER:" in capsys.readouterr().out
    assert {len(piece) for piece in found["missing"].index} == {1}, "characters of ja"


def test_the_best_trial_against_the_baseline(names: Any, tmp_path: Path) -> None:
    run = searched(tmp_path, alphas=(1.2, 2.5, 1.8, 3.0, 5.0), constraints={"absolute_floor": 4.0}, baseline_seeds=2)
    found = names(ANALYZE, run)
    wer = {row["trial_id"]: row["wer/gl"] for row in last_rows(run)}
    baseline = (wer["baseline-0"] + wer["baseline-1"]) / 2
    assert found["gain"].change["gl"] == pytest.approx(wer[found["best"]["trial_id"]] - baseline)
    assert found["gain"]["from"]["gl"] < found["gain"].change["gl"] < found["gain"]["to"]["gl"]
    assert sum(found["shares"].values()) == pytest.approx(1.0)
    assert found["room"].to_dict() == pytest.approx({"es": 4.0, "pt": 4.0})
    errors = found["pairs"].groupby("language")["change"].sum() / found["pairs"].groupby("language")["words"].sum()
    assert errors["gl"] == pytest.approx(found["gain"].change["gl"])


def test_nothing_feasible(names: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names(ANALYZE, searched(tmp_path, constraints={"absolute_floor": 0.0}))
    assert "nearest to feasible: search-000" in capsys.readouterr().out


def test_no_high_resource_language(names: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names(ANALYZE, searched(tmp_path, "languages.high_resource=[]"))
    assert "best feasible: search-002" in capsys.readouterr().out


def test_a_confirm_phase(names: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = names(ANALYZE, searched(tmp_path, constraints={"absolute_floor": 20.0}, confirm=CONFIRM))
    said = capsys.readouterr().out
    assert f"over other speech and other seeds ({len(found['ours'])})" in said
    assert f"{found['model']} over {len(found['ours'])} seeds: confirmed (p = " in said
    assert found["on_tests"].index.to_list() == [("test", name) for name in ("baseline", found["model"], "original")]


def test_a_confirm_phase_that_confirms_nothing(names: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names(ANALYZE, searched(tmp_path, alphas=(3.0,), constraints={"absolute_floor": 0.5}, confirm=CONFIRM))
    said = capsys.readouterr().out
    assert ": confirmed" not in said
    assert "not confirmed (p = " in said
    assert "It was not opened." in said


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    return made_run(surrogate.load_grid(tmp_path, LEVELS, seeds=2))


def test_a_grid_by_its_trials(names: Any, grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(names(ANALYZE, grid)["ours"]) == 2
    assert "over other speech and other seeds (2)" in capsys.readouterr().out


def test_the_papers_comparison(execute: Any, grid: Path) -> None:
    notebook = execute(REPRODUCE, grid)
    assert is_clean(notebook)
    assert images(notebook) == 1
    assert "6 trainings of 3 approaches" in texts(notebook)
    assert "is that of *DA*" in texts(notebook)
    wer = [[row["wer/gl"] for row in last_rows(grid) if row["config/weighting"] == name] for name in (None, "DA")]
    plain, dynamic = map(mean, wer)
    assert f"{100 * (dynamic / plain - 1):+.2f}" in texts(notebook)
    assert f"**gl**: {100 * (dynamic - plain):+.2f} points" in texts(notebook)


def test_an_approach_that_lacks_a_seed(names: Any, tmp_path: Path) -> None:
    run = made_run(surrogate.load_grid(tmp_path, LEVELS, seeds=2), failing=0)
    found = names(REPRODUCE, run)
    assert found["seeds"].to_dict() == {"plain, as recorded": 2, "DA": 2, "LP": 1}
    wer = {(row["config/weighting"], row["seed"]): row["wer/gl"] for row in last_rows(run)}
    assert found["intervals"]["LP"]["gl"][0] == pytest.approx(100 * (wer["LP", 1] - wer[None, 1]))  # of the same seed


@pytest.mark.parametrize("source", OF_ANY_RUN, ids=lambda source: source.stem)
def test_a_word_error_more_is_noticed(names: Any, grid: Path, source: Path) -> None:
    path = grid / "utterances.parquet"
    table = pq.read_table(path)
    name = "words_normalized_substitutions"
    is_first = pa.array([True] + [False] * (len(table) - 1))
    changed = pc.if_else(is_first, pc.add(table[name], 1), table[name]).cast(pa.int32())
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, changed), path)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        names(source, grid)


def test_a_search_that_is_no_grid_has_no_comparison(names: Any, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="must be the run of a grid"):
        names(REPRODUCE, searched(tmp_path))


@pytest.mark.slow
@needs_a_voice
def test_trials_of_a_real_search(execute: Any, undisturbed: Path) -> None:
    notebook = execute(ANALYZE, undisturbed)
    assert is_clean(notebook)
    assert "2 trials, 2 of them complete" in texts(notebook)
    assert "outcome.json says the same" in texts(notebook)
