from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from raywce.errors import Problems
from raywce.experiment.space import Distribution, take_out

RATE, ALPHA = "training.optimizer.learning_rate", "weighting.alpha"


@pytest.mark.parametrize(
    ("distribution", "optuna"),
    [
        (Distribution("uniform", (1.0, 6.0)), FloatDistribution(1.0, 6.0)),
        (Distribution("loguniform", (1e-6, 1e-4)), FloatDistribution(1e-6, 1e-4, log=True)),
        (Distribution("int", (0, 2)), IntDistribution(0, 2)),
        (Distribution("choice", (False, True)), CategoricalDistribution((False, True))),
    ],
)
def test_to_optuna(distribution: Distribution, optuna: Any) -> None:
    assert distribution.to_optuna() == optuna


@pytest.mark.parametrize(
    ("distribution", "held", "not_held"),
    [
        (Distribution("uniform", (1.0, 6.0)), [1, 6.0, 2.5], [0.99, 6.01, True, "2", None]),
        (Distribution("int", (0, 2)), [0, 2, 1.0], [0.5, 3, True]),
        (Distribution("choice", (False, True)), [False, True], [0, 1, "true"]),
        (Distribution("choice", (1, "a", None)), [1, 1.0, "a", None], [True, "b"]),
    ],
)
def test_both_ends_are_held(distribution: Distribution, held: list[Any], not_held: list[Any]) -> None:
    assert all(distribution.holds(value) for value in held)
    assert not any(distribution.holds(value) for value in not_held)


def test_as_drawn_has_the_type_of_draws() -> None:
    assert type(Distribution("uniform", (1.0, 6.0)).as_drawn(2)) is float
    assert type(Distribution("int", (1, 6)).as_drawn(2.0)) is int
    assert Distribution("choice", (0, False)).as_drawn(False) is False


@pytest.mark.parametrize(
    ("distribution", "value", "nearest"),
    [
        (Distribution("uniform", (0.0, 0.5)), 1.0, 0.5),
        (Distribution("loguniform", (0.02, 0.1)), 0.01, 0.02),
        (Distribution("int", (2, 3)), 1, 2),
        (Distribution("choice", (0, 0.9, "all")), 1, 0.9),
        (Distribution("choice", ("all", None)), 1, "all"),
        (Distribution("uniform", (5.0, 20.0)), None, 5.0),
    ],
)
def test_nearest_is_a_bound_or_a_choice(distribution: Distribution, value: Any, nearest: Any) -> None:
    assert distribution.nearest(value) == nearest
    assert distribution.holds(nearest)


def test_distributions_are_taken_out_of_the_leaves_where_they_may_stand() -> None:
    tree = {
        "weighting": {
            "kind": "constant",
            "alpha": {"uniform": [1, 6]},
            "languages": {"gl": {"alpha": {"int": [1, 2]}}},
        },
        "augmentation": {"copies": {"choice": [0, "all"]}, "gain": {"decibels": {"uniform": [0, 6]}}},
        "training": {"steps": 3, "optimizer": {"decay": {"choice": ["linear", "none"]}}},
        "languages": {"language_tokens": {"int": "es"}},  # a language, not a distribution
    }
    problems = Problems()
    out, space, broken = take_out(tree, problems)
    assert not problems.found
    assert not broken
    assert space == {
        "weighting.alpha": Distribution("uniform", (1.0, 6.0)),
        "weighting.languages.gl.alpha": Distribution("int", (1, 2)),
        "augmentation.copies": Distribution("choice", (0, "all")),
        "augmentation.gain.decibels": Distribution("uniform", (0.0, 6.0)),
        "training.optimizer.decay": Distribution("choice", ("linear", "none")),
    }
    assert out["weighting"] == {"kind": "constant", "alpha": 1.0, "languages": {"gl": {"alpha": 1}}}
    assert out["augmentation"] == {"copies": 0, "gain": {"decibels": 0.0}}
    assert out["languages"] == tree["languages"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"uniform": [2, 1]}, "uniform must have a lowest number below the highest"),
        ({"uniform": [1, 1]}, "a single one is written without a distribution"),
        ({"uniform": [1]}, "uniform must have two numbers"),
        ({"uniform": [1, "b"]}, "uniform must have two numbers"),
        ({"uniform": [0, float("inf")]}, "uniform must have two numbers"),
        ({"uniform": [False, True]}, "uniform must have two numbers"),
        ({"uniform": 3}, "uniform must have two numbers"),
        ({"loguniform": [0, 1]}, "loguniform must have bounds greater than 0"),
        ({"int": [1, 2.5]}, "int must have two whole numbers"),
        ({"choice": []}, "choice must list at least one value"),
        ({"choice": [[1], [2]]}, "choice must list plain values"),
        ({"choice": [1, 1]}, "choice must list each value once"),
        ({"uniform": [1, 2], "int": [1, 2]}, "a distribution must be one of uniform, loguniform, int, choice"),
    ],
)
def test_malformed_distributions(value: Any, words: str) -> None:
    problems = Problems()
    out, space, broken = take_out({"weighting": {"alpha": value}}, problems)
    assert [problem.path for problem in problems.found] == [ALPHA]
    assert words in str(problems.found[0])
    assert (out, space, broken) == ({"weighting": {}}, {}, {ALPHA})


@pytest.mark.parametrize(
    "path",
    [
        "weighting.kind",
        "weighting.scope",
        "augmentation.preset",
        "augmentation.languages",
        "augmentation.impulse_response.folder",
        "training.steps",
        "data.sampling.duration_window",
        "data.sampling.shares",
        "name",
        "search.trials",
    ],
)
def test_a_misplaced_distribution_says_where_one_may_stand(path: str) -> None:
    tree: Any = {"choice": [1, 2]}
    for key in reversed(path.split(".")):
        tree = {key: tree}
    problems = Problems()
    take_out(tree, problems)
    assert [problem.path for problem in problems.found] == [path]
    assert "under augmentation (not preset" in str(problems.found[0])
    assert "under training.optimizer" in str(problems.found[0])
