from __future__ import annotations

from typing import Any

import pytest

from raywce.errors import Problems
from raywce.experiment.overrides import put_in


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("weighting.alpha=2", ["weighting", "alpha"], 2),
        ("weighting.alpha=1e-5", ["weighting", "alpha"], 1e-5),
        ("weighting.alpha={uniform: [1, 6]}", ["weighting", "alpha"], {"uniform": [1, 6]}),
        ("weighting={kind: constant, alpha: 2}", ["weighting"], {"kind": "constant", "alpha": 2}),
        ("languages.low_resource=[ca]", ["languages", "low_resource"], ["ca"]),
        ("storage=s3://bucket/a=b", ["storage"], "s3://bucket/a=b"),
        ("model.revision=", ["model", "revision"], None),
        (
            "search.baseline.training.optimizer.beta1=0.8",
            ["search", "baseline", "training.optimizer.beta1"],
            0.8,
        ),
    ],
)
def test_a_value_is_put_in(override: str, path: list[str], value: Any) -> None:
    tree = {"weighting": {"kind": "none", "alpha": 1}}
    problems = Problems()
    out: Any = put_in(tree, [override], problems)
    for key in path:
        out = out[key]
    assert out == value
    assert not problems.found
    assert tree == {"weighting": {"kind": "none", "alpha": 1}}


def test_the_last_one_counts() -> None:
    assert put_in({}, ["a.b=1", "a.b=2"], Problems()) == {"a": {"b": 2}}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("weighting.alpha", "must be KEY=VALUE"),
        ("=2", "must be KEY=VALUE"),
        ("weighting..alpha=2", "must be KEY=VALUE"),
        ("name.x=2", "name must be a section"),
        ("weighting.alpha=[1", "override weighting.alpha, line 1, column 3: must be YAML"),
    ],
)
def test_what_is_malformed_is_collected(override: str, words: str) -> None:
    problems = Problems()
    assert put_in({"name": "x"}, [override, "a=1"], problems)["a"] == 1
    assert words in str(problems.found[0])
    assert len(problems.found) == 1
