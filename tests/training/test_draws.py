from __future__ import annotations

from pathlib import Path

import pytest

from raywce.training.draws import asked_draws, draws
from tests.experiment.example import changed, write_example

COUNTS = {"gl": 10, "es": 490, "pt": 500}


@pytest.mark.parametrize(
    ("overrides", "asked", "drawn"),
    [
        ([], 0.01, 0.01),
        (["data.sampling.temperature=2"], 10**0.5 / (10**0.5 + 490**0.5 + 500**0.5), None),
        (["data.sampling.both_kinds=true"], 0.01, 1 / 8),
        (["weighting={kind: dynamic, alpha: 1.5}"], 0.01, 1 / 8),  # auto
        (["weighting={kind: dynamic, alpha: 1.5}", "data.sampling.both_kinds=false"], 0.01, 0.01),
        (["data.sampling={shares: {gl: 1, es: 1, pt: 2}, both_kinds: true}"], 0.25, 0.25),
    ],
)
def test_what_is_drawn_of_the_low_resource_language(
    tmp_path: Path, overrides: list[str], asked: float, drawn: float | None
) -> None:
    file = write_example(tmp_path)
    experiment = changed(file, "training.batch_size=8", *overrides, check_files=False).experiment
    assert asked_draws(experiment, COUNTS)["gl"] == pytest.approx(asked)
    found = draws(experiment, COUNTS)
    assert found["gl"] == pytest.approx(asked if drawn is None else drawn)
    assert sum(found.values()) == pytest.approx(1)
