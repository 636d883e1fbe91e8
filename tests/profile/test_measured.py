from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raywce.experiment.schema import Experiment
from raywce.profile.measured import PROFILE, Batches, Measured
from raywce.runs.folder import RunFolder
from tests.profile.measures import measured


@pytest.fixture
def experiment() -> Experiment:
    tree = {
        "name": "a",
        "model": {"checkpoint": "openai/whisper-tiny"},
        "data": {"folder": "/speech"},
        "languages": {"low_resource": ["gl"], "high_resource": ["es"]},
        "training": {"steps": 100, "batch_size": 16},
    }
    return Experiment.model_validate(tree)


def test_it_is_kept_in_the_run_folder(experiment: Experiment, tmp_path: Path) -> None:
    folder, written = RunFolder.of(str(tmp_path), "a"), measured(experiment)
    assert Measured.read(folder) is None
    written.write(folder)
    assert Measured.read(folder) == written
    folder.write_text(PROFILE, '{"of": "another version"}')
    assert Measured.read(folder) is None


def test_it_holds_for_other_searches_of_the_same_training(experiment: Experiment) -> None:
    found = measured(experiment)
    assert found.changed(experiment) == []
    search = experiment.search.model_copy(update={"trials": 99})
    assert found.changed(experiment.model_copy(update={"search": search})) == []
    training = experiment.training.model_copy(update={"batch_size": 32})
    assert found.changed(experiment.model_copy(update={"training": training})) == ["training"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "memory traffic"),
        ({"of_peak": 0.6}, "products"),
        ({"of_peak": 0.6, "shares": {"data": 0.3}}, "input: raise resources.loader_threads"),
        ({"of_peak": 0.6, "batches": [Batches(16, 1, 16, 16.0), Batches(32, 1, 32, 20.0)]}, "small micro-batches"),
        ({"of_peak": 0.6, "batches": []}, "products"),
    ],
)
def test_what_limits_a_step_follows_from_its_figures(
    experiment: Experiment, changes: dict[str, Any], says: str
) -> None:
    assert measured(experiment, **changes).limited_by.startswith(says)


def test_the_fastest_way_is_one_of_the_file_s_own_batch_and_the_largest_one_that_fitted(experiment: Experiment) -> None:
    found = measured(experiment)
    fastest, largest = found.fastest(), found.largest()
    assert fastest
    assert (fastest.batch_size, fastest.accumulation_steps) == (16, 2)
    assert largest
    assert largest.micro_batch == 16
    assert measured(experiment, batches=[]).fastest() is None
