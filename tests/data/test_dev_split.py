from __future__ import annotations

from typing import Literal

import pytest

from raywce.data.dev_split import in_part

IDS = [f"u{index}" for index in range(100)]
SPEAKERS = [f"s{index % 10}" for index in range(100)]


def of(part: Literal["all", "search", "confirm"], share: float = 0.5, who: list[str | None] | None = None) -> list[int]:
    speakers: list[str | None] = list(SPEAKERS) if who is None else who
    return in_part(part, share, IDS[: len(speakers)], speakers)


def test_the_parts_are_all_of_dev_and_share_no_speaker() -> None:
    search, confirm = of("search"), of("confirm")
    assert sorted(search + confirm) == of("all") == list(range(100))
    assert not {SPEAKERS[index] for index in search} & {SPEAKERS[index] for index in confirm}


@pytest.mark.parametrize(("share", "count"), [(0.2, 20), (0.5, 50), (0.01, 10), (0.99, 90)])
def test_the_share_by_whole_speakers_with_one_on_either_side(share: float, count: int) -> None:
    assert len(of("confirm", share)) == count


def test_the_order_of_the_rows_does_not_matter() -> None:
    kept = {SPEAKERS[index] for index in of("confirm")}
    backwards = in_part("confirm", 0.5, IDS[::-1], SPEAKERS[::-1])
    assert {SPEAKERS[::-1][index] for index in backwards} == kept


def test_unknown_speakers_and_a_single_one_are_split_by_utterance() -> None:
    for speakers in ([None] * 100, ["one"] * 100):
        assert len(of("confirm", 0.3, list(speakers))) == 30


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("who", [["a", "b"], ["a", "a"], [None, None], ["a", None], ["a", "a", "b"]])
def test_two_utterances_or_more_leave_one_at_least_on_either_side(share: float, who: list[str | None]) -> None:
    search, confirm = of("search", share, who), of("confirm", share, who)
    assert search
    assert confirm
    assert sorted(search + confirm) == list(range(len(who)))


def test_a_single_utterance_is_the_searchs() -> None:
    assert (of("search", 0.5, ["one"]), of("confirm", 0.5, ["one"])) == ([0], [])
