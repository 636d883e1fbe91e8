from __future__ import annotations

from typing import Any

import pytest

from raywce.errors import Problems
from raywce.experiment.overrides import keys_of, put_in


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


@pytest.mark.parametrize(
    "written",
    [
        "/x/run #2/runs",
        "a: b",
        "[x",
        "{x: 1}",
        "%USER",
        "*runs",
        "&runs x",
        "!x",
        "@x",
        "- x",
        "| x",
        "007",
        "1e3",
        "no",
        "true",
        "null",
        "2026-11-29",
        " two  spaces ",
        "it's",
        "'/x/a' b",
        "s3://bucket/a=b #2",
    ],
)
@pytest.mark.parametrize("path", ["storage", "data.extra_test.far", "search.baseline.training.optimizer.decay"])
def test_text_is_taken_whole_where_the_leaf_holds_text(path: str, written: str) -> None:
    problems = Problems()
    found: Any = put_in({}, [f"{path}={written}"], problems)
    for key in keys_of(path):
        found = found[key]
    assert found == written
    assert not problems.found


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("storage='/x/run #2'", "/x/run #2"),
        ('storage="/x/\\u00fc"', "/x/ü"),
        ("storage=", None),
        ("model.revision=null", None),
        ("model.revision=0012", "0012"),
        ("training.optimizer.decay=none", "none"),
        ("training.optimizer.decay={choice: [none, linear]}", {"choice": ["none", "linear"]}),
        ("languages.language_tokens.ast=no", "no"),
        ("languages.language_tokens.ast={new_like: es}", {"new_like": "es"}),
        ("training.encoder_context=batch", "batch"),
        ("training.encoder_context=10", 10),
        ("data.sampling.both_kinds=true", True),
        ("search.baseline.training.optimizer.learning_rate=1e-4", 1e-4),
    ],
)
def test_the_leaf_says_what_a_value_is(override: str, value: Any) -> None:
    problems = Problems()
    found: Any = put_in({}, [override], problems)
    for key in keys_of(override.partition("=")[0]):
        found = found[key]
    assert found == value
    assert type(found) is type(value)
    assert not problems.found


def test_the_last_one_counts() -> None:
    assert put_in({}, ["a.b=1", "a.b=2"], Problems()) == {"a": {"b": 2}}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("weighting.alpha", "must be KEY=VALUE"),
        ("=2", "must be KEY=VALUE"),
        ("weighting..alpha=2", "must be KEY=VALUE"),
        ("storage=/x/\udce9", "storage: must be UTF-8"),
        ("name.x=2", "name must be a section"),
        ("weighting.alpha=[1", "override weighting.alpha, line 1, column 3: must be YAML"),
        ("weighting.alpha=2 # or 3", "override weighting.alpha: must be a value without a comment, but got # or 3"),
        ("languages.low_resource=[gl] #", "override languages.low_resource: must be a value without a comment"),
        ("data.extra_test={far: /x/run #2}", "Put text in quotes where it has YAML's signs in it"),
    ],
)
def test_what_is_malformed_is_collected(override: str, words: str) -> None:
    problems = Problems()
    assert put_in({"name": "x"}, [override, "a=1"], problems)["a"] == 1
    assert words in str(problems.found[0])
    assert len(problems.found) == 1
