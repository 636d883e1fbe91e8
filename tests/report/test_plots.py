from __future__ import annotations

from raywce.report.plots import short_names


def test_the_last_part_is_enough_where_it_is_the_only_one() -> None:
    found = short_names(
        ["weighting.alpha", "augmentation.gain.probability", "augmentation.pitch_shift.probability", "kind"]
    )
    assert list(found.values()) == ["alpha", "gain.probability", "pitch_shift.probability", "kind"]
