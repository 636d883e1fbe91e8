"""What a search comes to, from a table alone: no cluster is needed for it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from pydantic import TypeAdapter

from raywce.runs.tables import Trial, TrialTable
from raywce.selection.comparison import Interval
from raywce.selection.outcome import outcome
from raywce.selection.trials import BASELINE, COMPLETE, SEARCH
from raywce.trial_report import Report
from raywce.valid_json import as_json
from tests.search import surrogate

LEVELS = {"alpha": {"plain": {}, "weak": {"weighting.alpha": 2.0}}}


def test_an_interval_that_could_not_be_had_is_read_back_as_it_was() -> None:
    written = json.loads(as_json(asdict(Interval(0.5, math.nan, math.inf))), parse_constant=no_constant)
    assert written == {"value": 0.5, "low": None, "high": None}
    read = TypeAdapter(Interval).validate_python(written)
    assert read.value == 0.5
    assert math.isnan(read.low)
    assert math.isnan(read.high)


def no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is no JSON")


def test_the_figures_are_json_where_a_reference_wer_is_0(tmp_path: Path) -> None:
    file = surrogate.load_grid(tmp_path, LEVELS, seeds=1)
    table = TrialTable(file.space, file.experiment.languages)

    def add(phase: str, trial_id: str, **of: Any) -> None:
        values = {"alpha": "weak"} if phase == SEARCH else {}
        trial = Trial(phase, trial_id, 0, values)
        violations = {"violation/es": -0.5, "violation/pt": -0.5} if phase == SEARCH else {}
        for step, (gl, es, pt) in of.items():
            last = {"final": step == "step20", "objective": gl, **violations}
            table.record(trial, Report.of({"step": int(step[4:]), "wer/gl": gl, "wer/es": es, "wer/pt": pt, **last}))
        table.finish(trial, COMPLETE)

    add(BASELINE, "baseline-0", step0=(0.6, 0.0, 0.1), step20=(0.0, 0.0, 0.1))
    add(SEARCH, "search-000", step20=(0.1, 0.0, 0.1))
    result = outcome(table, file.experiment, {})
    stored = json.loads(result.to_json(), parse_constant=no_constant)
    (weak,) = stored["settings"][2:]
    assert weak["against_baseline"] == {"gl": None, "high": 0.0, "all": 100.0}
    assert stored["settings"][1]["against_original"]["gl"] == -100.0
    assert stored["references"]["baseline"]["gl"] == 0.0
