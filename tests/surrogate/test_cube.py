from __future__ import annotations

import math

import numpy as np
import pytest

from raywce.surrogate.cube import Axis, Cube

CUBE = Cube(
    {
        "rate": Axis(1e-6, 1e-4, log=True),
        "strength": Axis(0.0, 2.0),
        "layers": Axis(1, 4, step=1),
        "kind": Axis(choices=(None, "noise", True, 1)),
    }
)


def test_coordinates_are_even_between_the_bounds() -> None:
    assert Axis(1e-6, 1e-4, log=True).coordinate(1e-5) == pytest.approx(0.5)
    assert Axis(2.0, 6.0).coordinate(3.0) == 0.25
    assert Axis(2.0, 6.0).coordinate(1.0) == -0.25  # the baseline may stand outside
    assert math.isnan(Axis(0.1, 0.9, log=True).coordinate(0.0))


def test_a_value_that_is_no_choice_has_no_place_among_them() -> None:
    axis = CUBE.axes["kind"]
    assert [axis.coordinate(value) for value in (None, "noise", True, 1)] == [0, 1, 2, 3]
    assert math.isnan(axis.coordinate("other"))


def test_what_is_no_number_has_no_place_among_numbers() -> None:
    with pytest.raises(TypeError, match="'high'"):
        Axis(0.0, 1.0).coordinate("high")


def test_a_row_and_its_values_are_one() -> None:
    for values in ({"rate": 3e-5, "strength": 0.5, "layers": 2, "kind": True}, {**_low(), "kind": None}):
        found = CUBE.values(CUBE.row(values))
        assert found == pytest.approx(values) if values["kind"] is None else found["kind"] is True
        assert isinstance(found["layers"], int)
        assert found["rate"] == pytest.approx(values["rate"])


def _low() -> dict[str, float]:
    return {"rate": 1e-6, "strength": 0.0, "layers": 1}


def test_snapped_rows_are_settings_within_the_bounds() -> None:
    rows = CUBE.snapped(np.random.default_rng(0).normal(0.5, 1.0, (300, 4)))
    for row in rows:
        values = CUBE.values(row)
        assert 1e-6 <= values["rate"] <= 1e-4
        assert 0 <= values["strength"] <= 2
        assert values["layers"] in (1, 2, 3, 4)
        assert np.allclose(CUBE.row(values), row)


def test_whole_numbers_and_choices_are_drawn_alike_often() -> None:
    rows = CUBE.snapped(np.random.default_rng(0).random((8000, 4)))
    layers = np.bincount([int(CUBE.values(row)["layers"]) for row in rows])[1:]
    kinds = np.bincount(rows[:, 3].astype(int))
    for counts in (layers, kinds):
        assert np.abs(counts / 2000 - 1).max() < 0.1


def test_moved_rows_are_near_and_change_some_choices() -> None:
    rows = np.tile(CUBE.row({"rate": 1e-5, "strength": 1.0, "layers": 2, "kind": "noise"}), (2000, 1))
    moved = CUBE.moved(rows, np.random.default_rng(0), 0.05)
    assert moved[:, :2].std(axis=0) == pytest.approx(0.05, rel=0.1)
    assert (moved[:, 3] != 1).mean() == pytest.approx(0.1 * 3 / 4, abs=0.02)


def test_whole_numbers_on_a_logarithmic_axis() -> None:
    axis = Axis(1, 1000, log=True, step=1)
    assert [axis.value(axis.coordinate(number)) for number in (1, 7, 1000)] == [1, 7, 1000]
    assert axis.coordinate(32) == pytest.approx(math.log(32 / 0.5) / math.log(1000.5 / 0.5))
