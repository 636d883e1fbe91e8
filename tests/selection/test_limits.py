from __future__ import annotations

import math

import pytest

from raywce.experiment.schema import ConstraintLimits, Constraints
from raywce.selection.limits import is_feasible, limits, mean_wers, reference_wers, violations, worst

BASELINE = {"es": 0.20, "pt": 0.40}
ORIGINAL = {"es": 0.30, "pt": 0.50}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("baseline", BASELINE), ("original", ORIGINAL), (25, {"es": 0.25, "pt": 0.25})],
)
def test_the_reference_is_the_baseline_the_original_or_a_number_in_percent(reference, expected) -> None:
    constraints = Constraints(reference=reference)
    assert reference_wers(constraints, ["es", "pt"], BASELINE, ORIGINAL) == expected


def test_a_languages_own_limits_override_the_general_ones() -> None:
    own = ConstraintLimits(reference=10.0, relative_tolerance=0.5, absolute_floor=0.0)
    constraints = Constraints(reference="original", absolute_floor=2.0, languages={"es": own})
    references = reference_wers(constraints, ["pt", "es"], BASELINE, ORIGINAL)
    assert references == {"pt": 0.50, "es": 0.10}
    found = limits(constraints, references)
    assert [(name, limit.reference, limit.allowance) for name, limit in found.items()] == [
        ("pt", 0.50, 0.02),
        ("es", 0.10, 0.05),
    ]


@pytest.mark.parametrize(
    ("wer", "tolerance", "floor", "expected"),
    [
        (0.205, 0.0, 0.5, 0.0),  # on the limit
        (0.2051, 0.0, 0.5, 0.01),
        (0.19, 0.0, 0.5, -1.5),
        (0.22, 0.1, 0.5, 0.0),  # a tenth of 20 is 2 points, larger than the floor
        (0.23, 0.1, 0.5, 1.0),
        (0.23, 0.1, 4.0, -1.0),
        (0.20, 0.0, 0.0, 0.0),
    ],
)
def test_violation_is_what_exceeds_the_larger_allowance_in_points(wer, tolerance, floor, expected) -> None:
    constraints = Constraints(relative_tolerance=tolerance, absolute_floor=floor)
    found = violations({"es": wer}, limits(constraints, {"es": 0.20}))
    assert found["es"] == pytest.approx(expected, abs=1e-9)
    assert is_feasible(found) == (expected <= 0)


def test_violations_keep_the_order_of_the_limits() -> None:
    allowed = limits(Constraints(), {"pt": 0.4, "es": 0.2, "de": 0.1})
    assert list(violations({"de": 0.1, "es": 0.2, "pt": 0.4}, allowed)) == ["pt", "es", "de"]


def test_worst_and_feasibility() -> None:
    assert worst({"es": -1.0, "pt": 0.3}) == ("pt", 0.3)
    assert worst({}) is None
    assert is_feasible({})
    assert not is_feasible({"es": -1.0, "pt": math.nan})


def test_the_mean_over_seeds_is_the_wer_of_all_their_counts() -> None:
    edits, words = [13, 17, 12], 90
    runs = [{"es": count / words} for count in edits]
    assert mean_wers(runs)["es"] == pytest.approx(sum(edits) / (words * len(edits)))
