from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from raywce.errors import InputError
from raywce.experiment.alternatives import combinations
from raywce.experiment.load import load
from raywce.experiment.space import Distribution
from raywce.weighting import AlphaSchedule
from tests.experiment.example import changed, problems

LP = "{weighting: {kind: linear_progressive, alpha_initial: 2, alpha_final: 5, ramp_start: 0.5}}"
TWO = (
    "search.alternatives={weighting: {plain: {weighting: {kind: none}}, LP: " + LP + "}, "
    "audio: {as recorded: {}, augmented: {augmentation: {preset: paper}}}}"
)
NO_POINTS = "search.points=none"


def test_each_factor_is_one_more_choice(example: Path) -> None:
    file = changed(example, TWO, NO_POINTS)
    assert {key: str(choice) for key, choice in file.space.items()} == {
        "weighting": '{choice: ["plain", "LP"]}',
        "audio": '{choice: ["as recorded", "augmented"]}',
    }
    made = file.at({"weighting": "LP", "audio": "augmented"})
    assert made.schedules()["gl"] == AlphaSchedule(2.0, 5.0, 0.5, 1.0)
    assert made.augmentation.pitch_shift.probability == 0.2
    assert not file.at({"weighting": "LP", "audio": "as recorded"}).augmentation.active
    assert file.concrete().schedules()["gl"] == AlphaSchedule(2.0, 2.0)  # a training takes the file as it is


def test_beside_searched_leaves(example: Path) -> None:
    file = changed(
        example,
        "weighting.alpha={uniform: [1, 4]}",
        "search.alternatives={rate: {low: {training.optimizer.learning_rate: 1e-6}, high: {}}}",
        NO_POINTS,
    )
    assert list(file.space) == ["weighting.alpha", "rate"]
    made = file.at({"weighting.alpha": 3.0, "rate": "low"})
    assert (made.schedules()["gl"].alpha_final, made.training.optimizer.learning_rate) == (3.0, 1e-6)
    assert file.baseline().training.optimizer.learning_rate == 1e-5
    with pytest.raises(InputError, match="rate: must be in"):
        file.at({"weighting.alpha": 3.0, "rate": "middle"})


def test_a_level_may_change_the_sampling(example: Path) -> None:
    levels = "as it is: {}, hot: {data.sampling.temperature: 5}, even: {data.sampling.shares: {gl: 2, es: 1, pt: 1}}"
    file = changed(example, f"search.alternatives={{exposure: {{{levels}}}}}", NO_POINTS)
    assert file.at({"exposure": "hot"}).data.sampling.temperature == 5
    assert file.at({"exposure": "even"}).data.sampling.shares == {"gl": 2, "es": 1, "pt": 1}
    assert file.baseline().data.sampling == file.at({"exposure": "as it is"}).data.sampling
    single = "{data.sampling.shares.gl: 2, data.sampling.shares.es: 1, data.sampling.shares.pt: 1}"
    leaves = changed(example, f"search.alternatives={{exposure: {{as it is: {{}}, even: {single}}}}}", NO_POINTS)
    assert leaves.at({"exposure": "even"}).data.sampling == file.at({"exposure": "even"}).data.sampling


def test_the_resolved_file_gives_the_same(example: Path, tmp_path: Path) -> None:
    folder = "search.alternatives.audio.noisy.augmentation={background_noise: {folder: noises}}"
    file = changed(example, TWO, NO_POINTS, folder, check_files=False)
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(file.resolved_yaml())
    again = load(resolved, check_files=False)
    assert (again.space, again.experiment) == (file.space, file.experiment)
    level = yaml.safe_load(file.resolved_yaml())["search"]["alternatives"]["audio"]["noisy"]
    assert Path(level["augmentation"]["background_noise"]["folder"]) == Path("noises").absolute()


def test_an_override_below_a_level_is_keyed_by_path(example: Path) -> None:
    more = "search.alternatives.audio.augmented.augmentation.strength=0.5"
    file = changed(
        example, TWO.replace("{augmentation: {preset: paper}}", "{augmentation.copies: all}"), more, NO_POINTS
    )
    assert file.experiment.search.alternatives["audio"]["augmented"] == {
        "augmentation.copies": "all",
        "augmentation.strength": 0.5,
    }


def test_published_points_have_no_level(example: Path) -> None:
    file = changed(example, TWO)
    assert not file.published_points()
    assert "no published setting is among the first points" in file.notes[0]
    point = {"weighting": "LP", "audio": "augmented"}
    assert changed(example, TWO, f"search.points={[point]}").published_points() == [point]


def test_batches_of_both_kinds_where_some_level_adapts(example: Path) -> None:
    assert changed(example, TWO, NO_POINTS).experiment.data.sampling.both_kinds is False
    dynamic = "search.alternatives.weighting.DA={weighting: {kind: dynamic, alpha: 1.5}}"
    assert changed(example, TWO, dynamic, NO_POINTS).experiment.data.sampling.both_kinds is True


def test_every_error_of_every_level_at_once(example: Path) -> None:
    levels = """search.alternatives={
      dotted.name: {one: {}},
      weighting: {
        high: {weighting.alpha: -1},
        unknown: {weighting: {kind: linear, alpha: 1}},
        lacking: {weighting: {kind: constant}},
        steps: {training.steps: 10},
        data: {data.sampling.shares: {gl: 1}},
        below: {weighting.alpha.x: 1}},
      audio: {
        noise: {augmentation: {white_noise: {probability: 1, amplitude: null}}},
        again: {augmentation: {white_noise: {probability: 1, amplitude: null}}},
        folder: {augmentation: {background_noise: {probability: 1, folder: nowhere}}},
        twice: {augmentation: {}, augmentation.strength: 1}},
      third: {weight: {weighting.alpha: 2}}}"""
    found = {problem.path.removeprefix("search.alternatives."): problem.rule for problem in problems(example, [levels])}
    assert {path: rule for path, rule in found.items() if "white_noise" not in path} == {
        "dotted.name": "must have a name without a dot, which key paths have",
        "weighting.high.weighting.alpha": "must be greater than 0",
        "weighting.unknown.weighting.kind": found["weighting.unknown.weighting.kind"],
        "weighting.lacking.weighting.alpha": "is required",
        "weighting.steps.training.steps": "must be a key path that a level may change",
        "weighting.data.data.sampling.shares": "must have a share for each language",
        "weighting.below.weighting.alpha.x": "must be a key path that a level may change",
        "audio.again": "must differ from level noise",
        "audio.folder.augmentation.background_noise.folder": found["audio.folder.augmentation.background_noise.folder"],
        "audio.twice.augmentation.strength": "must not change what augmentation of the same level changes",
        "third.weight.weighting.alpha": "must not change what factor weighting changes",
    }
    assert found["audio.noise.augmentation.white_noise"].startswith("must have either an amplitude or an snr")
    assert "must be one of" in found["weighting.unknown.weighting.kind"]


def test_a_searched_leaf_is_no_alternative(example: Path) -> None:
    (problem,) = problems(example, ["weighting.alpha={uniform: [1, 4]}", TWO, NO_POINTS])[:1]
    assert problem.path == "search.alternatives.weighting.plain.weighting"
    assert "must not change weighting.alpha, which is searched" in str(problem)


def test_too_many_combinations(example: Path) -> None:
    leaves = ("time_stretch", "pitch_shift", "gain")
    levels = {leaf: {str(n): {f"augmentation.{leaf}.probability": n / 20} for n in range(11)} for leaf in leaves}
    found = problems(example, [f"search.alternatives={levels}", NO_POINTS])
    assert [(problem.path, problem.got) for problem in found] == [("search.alternatives", "1331")]


def test_levels_that_fail_only_together(example: Path) -> None:
    levels = """search.alternatives={
      strength: {one: {}, three: {augmentation.strength: 3}},
      stretch: {none: {}, wide: {augmentation.time_stretch: {probability: 1, rate: 0.3}}}}"""
    (problem,) = problems(example, [levels, NO_POINTS])
    assert problem.path == "search.alternatives.stretch.wide.augmentation.time_stretch.rate"
    assert problem.got == "0.3 x 3 = 0.9"


def test_combinations_change_the_last_key_fastest_and_have_both_ends_of_int() -> None:
    space = {"a": Distribution("choice", ("x", None)), "b": Distribution("int", (0, 2))}
    listed = {path: distribution.listed() for path, distribution in space.items()}
    assert [tuple(values.values()) for values in combinations(listed)] == [
        ("x", 0),
        ("x", 1),
        ("x", 2),
        (None, 0),
        (None, 1),
        (None, 2),
    ]
