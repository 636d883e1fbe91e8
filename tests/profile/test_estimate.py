from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from raywce.experiment.load import ExperimentFile, load
from raywce.profile.estimate import estimate, trial_of
from tests.profile.measures import measured


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(*overrides: str, **sections: Any) -> ExperimentFile:
        tree = {
            "name": "a",
            "model": {"checkpoint": "openai/whisper-tiny"},
            "data": {"folder": str(tmp_path / "speech")},
            "languages": {"low_resource": ["gl"], "high_resource": ["es"]},
            "weighting": {"kind": "constant", "alpha": {"uniform": [1, 6]}},
            "training": {"steps": 100},
            "search": {"trials": 8, "baseline_seeds": 2, "confirm": {"candidates": 0}},
            "resources": {"workers": 2},
            **sections,
        }
        path = tmp_path / "a.yaml"
        path.write_text(yaml.safe_dump(tree))
        return load(path, overrides, check_files=False)

    return write


def seconds(file: ExperimentFile, at_start: bool = False, share: float = 1.0) -> float:
    return trial_of(file.experiment, measured(file.experiment), 60, at_start, share).seconds


def test_a_training_is_what_is_around_it_its_steps_its_evaluation_and_its_checkpoint(file: Any) -> None:
    trial = trial_of(file().experiment, measured(file().experiment), 60, at_start=False)
    assert (trial.start_and_end, trial.steps, trial.evaluations, trial.checkpoints) == (10.0, 100.0, 6.0, 2.0)
    assert trial.seconds == 118.0


def test_intermediate_evaluations_are_of_their_own_share(file: Any) -> None:
    assert seconds(file("training.evaluate_every=25")) == 118 + 3 * (6 + 2)
    assert seconds(file("training.evaluate_every=30")) == 118 + 3 * (6 + 2)  # at 30, 60, 90, and the end
    assert seconds(file("training.evaluate_every=50", "training.checkpoint_every=10")) == 118 + 6 + 9 * 2
    assert seconds(file("training.evaluate_every=50", "evaluation.intermediate_share=0.5")) == 118 + 3 + 2
    half_of_dev = trial_of(file("training.evaluate_every=50").experiment, measured(file().experiment), 800, False)
    assert half_of_dev.evaluations == 80 + 40  # 200 of each language's 400
    assert seconds(file(), at_start=True) == 118 + 6
    assert seconds(file(), share=0.5) == 118 - 50 - 1


def phases(file: ExperimentFile, test: int = 0, **changes: Any) -> dict[str, tuple[int, float]]:
    found = estimate(file, measured(file.experiment, **changes), test)
    return {phase.name: (phase.trainings, phase.seconds) for phase in found.phases}


def test_trainings_go_side_by_side_as_far_as_there_is_room(file: Any) -> None:
    one = 10 + 100 + 10 + 2
    assert phases(file()) == {"baseline": (2, one + 10), "search": (8, 4 * one)}  # the original is evaluated once
    assert phases(file("search.max_concurrent_trials=1")) == {"baseline": (2, 2 * one + 10), "search": (8, 8 * one)}
    assert phases(file("search.trials=9"))["search"] == (9, 5 * one)
    nodes = [{"CPU": 2.0, "GPU": 0.0}] * 8
    assert phases(file(), nodes=nodes) == {"baseline": (2, one + 10), "search": (8, one)}


def test_the_whole_is_all_phases_and_the_cluster_s_start(file: Any) -> None:
    found = estimate(file(), measured(file().experiment), 0)
    assert found.seconds == 7 + (122 + 10) + 4 * 122
    assert found.at_once == 2
    assert found.gpu_hours == 0
    assert found.cpu_hours == pytest.approx(2 * (10 * 122 + 10) / 3600)
    on_gpus = file("resources.gpus_per_worker=1")
    nodes = [{"CPU": 4.0, "GPU": 2.0}]
    assert estimate(on_gpus, measured(on_gpus.experiment, nodes=nodes), 0).gpu_hours == pytest.approx(2 * 1230 / 3600)


def test_a_time_limit_bounds_the_search(file: Any) -> None:
    assert phases(file("search.time_limit_s=244"))["search"] == (4, 244)
    assert phases(file("search.time_limit_s=1000"))["search"] == (8, 4 * 122)


def test_a_confirm_phase_trains_again_and_decodes_what_was_kept_back_and_the_test_split(file: Any) -> None:
    confirm = {"trials": 8, "baseline_seeds": 2, "confirm": {"candidates": 3, "seeds": 3}}
    found = phases(file(search=confirm), test=50)
    assert found == {
        "baseline": (2, 118 + 6),
        "search": (8, 4 * 118),
        "confirm": (3 * 3 + 5, (5 + 3) * (118 - 6 + 4)),  # two at once, 9 up to the first look and 5 behind it
        "averages": (0, 2 * (1 + 3) / 2 * 4.0),  # two at once
        "test splits": (0, (1 + 3 + 5 + 2 + 1) / 2 * 5.0),  # of the last two, one is alone
    }
    closed = {**confirm, "confirm": {"candidates": 3, "test": False}}
    assert "test splits" not in phases(file(search=closed), test=50)


def test_early_stopping_saves_the_steps_behind_the_rungs(file: Any) -> None:
    stops = {"trials": 8, "early_stopping": True, "sampler": "tpe", "confirm": {"candidates": 0}}
    training = {"steps": 100, "evaluate_every": 10}
    found = phases(file(search=stops, training=training))["search"]
    # From the rungs at 10, 30 and 90 one in three goes on: 10 + 20 / 3 + 60 / 9 + 10 / 27 steps.
    share = (10 + 20 / 3 + 60 / 9 + 10 / 27) / 100
    assert found == (8, pytest.approx(4 * (10 + share * (100 + 9 * 10 + 10 * 2) + 10)))


def test_a_grid_has_its_settings_over_its_seeds(file: Any) -> None:
    grid = {
        "trials": None,
        "sampler": "grid",
        "seeds": 2,
        "points": "none",
        "baseline_seeds": 2,
        "confirm": {"candidates": 0},
    }
    weighting = {"kind": "constant", "alpha": {"choice": [2, 3, 4]}}
    assert phases(file(search=grid, weighting=weighting))["search"] == (6, 3 * 122)


def test_trials_that_share_a_gpu_go_side_by_side(file: Any) -> None:
    shared = file(resources={"workers": 1, "gpus_per_worker": 0.25})
    found = estimate(shared, measured(shared.experiment, nodes=[{"CPU": 16.0, "GPU": 1.0}]), 0)
    assert found.at_once == 4
    assert found.gpu_hours == pytest.approx(found.cpu_hours / 4)


def test_kept_encoder_states_are_computed_once_by_each_node(file: Any) -> None:
    keeps: dict[str, Any] = {"encoded_per_second": 50.0, "train": 1000}
    # Of the batch's own context two lengths each, or what ten trainings of 100 steps of 16 draw; and 100 of dev.
    assert phases(file("training.encoder_context=batch"), **keeps)["encoder states"] == (0, 2100 / 50)
    assert phases(file("training.encoder_context=full"), **keeps)["encoder states"] == (0, 1100 / 50)
    assert phases(file("training.steps=2"), **keeps)["encoder states"] == (0, (10 * 2 * 16 + 100) / 50)
    nodes = [{"CPU": 2.0, "GPU": 0.0}] * 8
    found = estimate(file(), measured(file().experiment, nodes=nodes, **keeps), 0)
    without = estimate(file(), measured(file().experiment, nodes=nodes), 0)
    assert found.seconds - without.seconds == pytest.approx(found.phases[0].seconds)
    assert found.cpu_hours - without.cpu_hours == pytest.approx(2 * 8 * found.phases[0].seconds / 3600)


def test_processes_of_trainings_with_one_worker_start_once_a_phase(file: Any) -> None:
    one = file(resources={"workers": 1}, search={"trials": 8, "baseline_seeds": 4, "confirm": {"candidates": 0}})
    assert seconds(one) == 118 - 5
    two_at_once = phases(one, nodes=[{"CPU": 2.0}])
    assert two_at_once["baseline"] == (4, 5 + 2 * (113 + 4) + 10)
    assert two_at_once["search"] == (8, 5 + 4 * (113 + 4))
