from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from raywce.errors import InputError
from raywce.export.source import find_source
from raywce.selection.outcome import SearchOutcome
from tests.export.runs import SearchRun


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Nothing is read of it here."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def test_the_best_feasible_trial_with_its_values_and_seed(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path, checkpoint)
    source = find_source(run.folder.uri)
    assert (source.kind, source.trial_id) == ("best", "search-1")
    assert source.experiment.weighting.alpha == 3.0  # type: ignore[union-attr]
    assert source.checkpoint == run.folder.path("trials", "search-1", "step-00000020")
    assert find_source(f"file://{run.folder.uri}").trial_id == "search-1"


def test_a_confirmed_winner_is_the_first_of_its_seeds(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path, checkpoint, confirm=True)
    source = find_source(run.folder.uri)
    assert (source.kind, source.trial_id) == ("confirmed", "confirm-candidate-1-1")
    assert (source.experiment.training.seed, source.experiment.weighting.alpha) == (1, 3.0)  # type: ignore[union-attr]


def test_an_average_that_is_confirmed_is_of_all_its_seeds(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path, checkpoint, confirm=True)
    run.average()
    source = find_source(run.folder.uri)
    assert (source.kind, source.trial_id) == ("average", "confirm-candidate-1-1")
    places = [run.folder.path("trials", f"confirm-candidate-1-{seed}", "step-00000020") for seed in (1, 2, 3)]
    assert [source.checkpoint, *source.others] == places
    assert source.title == "average of candidate-1's 3 trainings, step 20"


def test_an_average_that_is_not_confirmed_leaves_the_first_seed(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path, checkpoint, confirm=True)
    run.average(confirmed=False)
    source = find_source(run.folder.uri)
    assert (source.kind, source.trial_id, source.others) == ("confirmed", "confirm-candidate-1-1", [])
    assert find_source(run.folder.uri, "confirm-candidate-1-2").others == []


def test_an_outcome_of_another_version_is_bad_input(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path, checkpoint)
    run.folder.write_text("outcome.json", '{"name": "toy"}')
    assert "outcome.json: must be as the run wrote it, but got " in problem_of(run.folder.uri)


def test_where_nothing_was_confirmed_it_is_the_searchs_best(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path, checkpoint, confirm=True)

    def without_winner(outcome: SearchOutcome) -> SearchOutcome:
        assert outcome.confirmation is not None
        choice = replace(outcome.confirmation.choice, winner=None)
        return replace(outcome, confirmation=replace(outcome.confirmation, choice=choice))

    run.change_outcome(without_winner)
    assert find_source(run.folder.uri).kind == "best"


def test_a_run_of_an_older_version_is_exported(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path, checkpoint, confirm=True)
    before, written = find_source(run.folder.uri), run.folder.read_text("experiment.yaml")
    assert "\ntraining:\n" in written
    run.folder.write_text("experiment.yaml", written.replace("\ntraining:\n", "\ntraining:\n  wobble: 0.5\n"))
    assert find_source(run.folder.uri) == before


def test_of_a_grids_setting_it_is_the_first_seed(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path, checkpoint)

    def of_a_setting(outcome: SearchOutcome) -> SearchOutcome:
        assert outcome.best is not None
        return replace(outcome, best=replace(outcome.best, trial_id="search-0, search-1"))

    run.change_outcome(of_a_setting)
    assert find_source(run.folder.uri).trial_id == "search-0"
    shutil.rmtree(run.folder.path("trials", "search-0"))  # search.keep_models kept others
    assert find_source(run.folder.uri).trial_id == "search-1"


def test_a_trial_asked_for_by_its_id_may_be_the_baseline(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path, checkpoint)
    source = find_source(run.folder.uri, "baseline-0")
    assert (source.kind, source.experiment.weighting.kind) == ("by id", "none")


def problem_of(run: str, trial: str | None = None) -> str:
    with pytest.raises(InputError) as error:
        find_source(run, trial)
    return str(error.value)


def test_what_can_not_be_exported_is_refused_with_what_to_do(tmp_path: Path, checkpoint: Path) -> None:
    assert "must be a run folder, but got" in problem_of(str(tmp_path / "nowhere"))
    run = SearchRun.write(tmp_path, checkpoint, violation=2.0)
    nothing = problem_of(run.folder.uri)
    assert "must have a feasible trial, but got none among 2" in nothing
    assert "--trial search-0 to export the nearest one" in nothing or "--trial search-1 to export" in nothing
    assert find_source(run.folder.uri, "search-0").trial_id == "search-0"
    unknown = problem_of(run.folder.uri, "search-7")
    assert "--trial: must be a trial of the run that is complete, but got search-7" in unknown
    assert "baseline-0, search-0, search-1" in unknown
    shutil.rmtree(run.folder.path("trials", "search-0", "step-00000020"))
    assert "must still hold the model's checkpoint, but got nothing at" in problem_of(run.folder.uri, "search-0")
    (run.folder.local / "outcome.json").unlink()  # type: ignore[operator]
    assert "must be a finished search, but got no outcome.json" in problem_of(run.folder.uri)
    assert find_source(run.folder.uri, "search-1").trial_id == "search-1"
