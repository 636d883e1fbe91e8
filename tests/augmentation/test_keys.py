from __future__ import annotations

import pytest

from raywce.augmentation.keys import DrawKey

EXPECTED = 0.9196826489761789
KEY = DrawKey(0, 1, 1, "gl-1")


def test_the_same_key_draws_the_same_numbers_everywhere() -> None:
    drawn = DrawKey(0, 1, 1, "gl-1").generator("gain").random(3)
    assert drawn.tolist() == KEY.generator("gain").random(3).tolist()
    assert drawn[0] == pytest.approx(EXPECTED), "on every machine"


@pytest.mark.parametrize(
    "other", [DrawKey(1, 1, 1, "gl-1"), DrawKey(0, 2, 1, "gl-1"), DrawKey(0, 1, 2, "gl-1"), DrawKey(0, 1, 1, "gl-2")]
)
def test_any_other_key_draws_other_numbers(other: DrawKey) -> None:
    assert other.generator("gain").random() != KEY.generator("gain").random()


def test_each_transform_has_numbers_of_its_own() -> None:
    assert KEY.generator("gain").random() != KEY.generator("white_noise").random()
