"""What is minimised, where rates have one scale and where they have two."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from raywce.experiment.schema import Experiment
from raywce.selection.objective import Objective
from tests.experiment.example import changed

BASELINE = {"gl": 0.50, "ja": 0.10, "es": 0.20}


def experiment(example: Path, metric: str) -> Experiment:
    languages = "languages={low_resource: [gl, ja], high_resource: [es]}"
    return changed(example, languages, f"evaluation.metric={metric}", check_files=False).experiment


@pytest.mark.parametrize("metric", ["wer_normalized", "cer_raw"])
def test_rates_of_one_kind_have_a_plain_mean_and_need_no_baseline(example: Path, metric: str) -> None:
    objective = Objective.of(experiment(example, metric), {})
    assert objective.value({"gl": 0.4, "ja": 0.1, "es": 9.0}) == pytest.approx(0.25)


def test_of_a_wer_and_a_cer_the_mean_of_relative_changes_counts(example: Path) -> None:
    objective = Objective.of(experiment(example, "auto"), BASELINE)
    assert objective.value(BASELINE) == 1.0
    # A tenth less of the WER, a fifth more of the CER: the plain mean would call it an improvement.
    rates = {"gl": 0.45, "ja": 0.12, "es": 0.3}
    assert objective.value(rates) - 1.0 == pytest.approx((-0.1 + 0.2) / 2)
    assert sum(rates[name] - BASELINE[name] for name in ("gl", "ja")) < 0


def test_a_missing_rate_has_no_objective(example: Path) -> None:
    assert math.isnan(Objective.of(experiment(example, "auto"), BASELINE).value({"gl": 0.4}))
