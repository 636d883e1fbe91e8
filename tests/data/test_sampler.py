from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from raywce.data.sampler import BatchSampler, Draw, language_shares, split_batch, with_both_kinds, with_copies

ROOT = Path(__file__).parents[2]
COUNTS = {"gl": 37, "ca": 90, "es": 400, "pt": 151}


def pools_of(counts: dict[str, int]) -> dict[str, NDArray[np.int64]]:
    ends = np.cumsum(list(counts.values()))
    return {name: np.arange(end - count, end) for (name, count), end in zip(counts.items(), ends, strict=True)}


POOLS = pools_of(COUNTS)
DURATIONS = np.random.default_rng(0).uniform(1, 30, sum(COUNTS.values())).astype(np.float32)


def make_sampler(**changes: Any) -> BatchSampler:
    shares = changes.pop("shares", language_shares(COUNTS))
    return BatchSampler(POOLS, DURATIONS, shares, **{"batch_size": 16, "steps": 200, "seed": 1, **changes})


def language(draw: Draw) -> str:
    return next(name for name, pool in POOLS.items() if draw.index in pool)


def languages(sampler: BatchSampler) -> list[Counter[str]]:
    return [Counter(map(language, sampler.batch(step))) for step in range(sampler.steps)]


@pytest.mark.parametrize(("temperature", "low"), [(1.0, 1 / 101), (2.0, 1 / 11), (4.0, 1 / (1 + 10**0.5)), (1e9, 0.5)])
def test_shares_by_temperature(temperature: float, low: float) -> None:
    shares = language_shares({"gl": 100, "es": 10_000}, temperature)
    assert shares == pytest.approx({"gl": low, "es": 1 - low})


def test_explicit_shares_override_the_counts_and_are_scaled() -> None:
    assert language_shares({"gl": 5, "es": 9000}, 5.0, {"gl": 1, "es": 3}) == {"gl": 0.25, "es": 0.75}


@pytest.mark.parametrize(
    "shares",
    [
        language_shares(COUNTS),
        language_shares(COUNTS, 3.0),
        language_shares(COUNTS, explicit={"gl": 1, "ca": 1, "es": 1, "pt": 1}),
        language_shares(COUNTS, explicit={"gl": 0.003, "ca": 0.007, "es": 0.49, "pt": 0.5}),
    ],
)
def test_shares_hold_in_every_batch_and_over_many_steps(shares: dict[str, float]) -> None:
    steps, batch_size = 1000, 16
    counts = languages(make_sampler(shares=shares, steps=steps, batch_size=batch_size))
    for name, share in shares.items():
        drawn = np.array([count[name] for count in counts])
        expected = share * batch_size
        assert np.abs(drawn - expected).max() < 1
        # A batch has one utterance more or less than the rounded share, independently: 5 standard deviations.
        fraction = expected % 1
        assert drawn.mean() == pytest.approx(expected, abs=5 * (fraction * (1 - fraction) / steps) ** 0.5 + 1e-6)
    assert all(count.total() == batch_size for count in counts)


@pytest.mark.parametrize("batch_size", [2, 3, 16])
@pytest.mark.parametrize("low", [1e-4, 0.06, 0.3, 1 - 1e-4])
def test_each_batch_has_both_kinds_where_asked(low: float, batch_size: int) -> None:
    shares = {"gl": low / 4, "ca": low * 3 / 4, "es": (1 - low) / 3, "pt": (1 - low) * 2 / 3}
    raised = with_both_kinds(shares, {"gl", "ca"}, batch_size)
    assert sum(raised.values()) == pytest.approx(1)
    assert raised["ca"] == pytest.approx(3 * raised["gl"])
    assert raised["pt"] == pytest.approx(2 * raised["es"])
    for count in languages(make_sampler(shares=raised, batch_size=batch_size, steps=300)):
        assert count["gl"] + count["ca"] >= 1
        assert count["es"] + count["pt"] >= 1


def test_both_kinds_changes_nothing_where_it_need_not_or_can_not() -> None:
    shares = {"gl": 0.25, "ca": 0.25, "es": 0.5}
    assert with_both_kinds(shares, {"gl", "ca"}, 4) == shares
    assert with_both_kinds(shares, {"gl"}, 1) == shares
    thirds = dict.fromkeys(["gl", "ca", "eu"], 1 / 3)
    assert with_both_kinds(thirds, {"gl", "ca", "eu"}, 4) == thirds
    tenths = dict.fromkeys(map(str, range(10)), 0.1)  # their sum is 0.9999999999999999
    assert with_both_kinds(tenths, set(tenths), 4) == tenths


@pytest.mark.parametrize("duration_window", [1, 7, 1000])
def test_each_utterance_comes_once_in_each_epoch(duration_window: int) -> None:
    sampler = make_sampler(steps=600, duration_window=duration_window)
    drawn: dict[str, list[Draw]] = {name: [] for name in POOLS}
    for step in range(sampler.steps):
        for draw in sampler.batch(step):
            drawn[language(draw)].append(draw)
    for name, pool in POOLS.items():
        epochs = Counter(draw.epoch for draw in drawn[name])
        last = max(epochs)
        assert last >= 2
        for epoch in range(last):
            assert sorted(draw.index for draw in drawn[name] if draw.epoch == epoch) == pool.tolist()
        rest = [draw.index for draw in drawn[name] if draw.epoch == last]
        assert len(rest) == len(set(rest)) == len(drawn[name]) - last * len(pool)


def test_epochs_come_in_different_orders() -> None:
    sampler = BatchSampler({"gl": np.arange(50)}, np.ones(50, np.float32), {"gl": 1.0}, batch_size=1, steps=100, seed=0)
    order = [sampler.batch(step)[0].index for step in range(100)]
    assert order[:50] != sorted(order[:50])
    assert order[:50] != order[50:]
    assert sorted(order[:50]) == sorted(order[50:])


@pytest.mark.parametrize("duration_window", [1, 8])
def test_a_resumed_run_draws_the_same_batches(duration_window: int) -> None:
    whole = make_sampler(duration_window=duration_window)
    expected = [whole.batch(step) for step in range(whole.steps)]
    for first in (1, 83, 199):
        resumed = make_sampler(duration_window=duration_window)
        assert [resumed.batch(step) for step in range(first, resumed.steps)] == expected[first:]


def test_another_seed_draws_other_batches() -> None:
    first, second = make_sampler(seed=1), make_sampler(seed=2)
    assert languages(first) != languages(second)
    alone = {"gl": 1.0, "ca": 0.0, "es": 0.0, "pt": 0.0}
    first, second = make_sampler(seed=1, shares=alone), make_sampler(seed=2, shares=alone)
    assert [first.batch(step) for step in range(20)] != [second.batch(step) for step in range(20)]


@pytest.mark.parametrize(("workers", "accumulation_steps"), [(1, 1), (2, 1), (1, 4), (2, 4), (4, 2), (16, 1)])
def test_workers_and_micro_batches_split_a_batch(workers: int, accumulation_steps: int) -> None:
    sampler = make_sampler()
    for step in (0, 17):
        batch = sampler.batch(step)
        parts = [split_batch(batch, workers, accumulation_steps, rank) for rank in range(workers)]
        assert {len(part) for part in parts} == {accumulation_steps}
        assert {len(micro_batch) for part in parts for micro_batch in part} == {16 // workers // accumulation_steps}
        # In turn, over the ranks, they are the batch itself: nothing twice, nothing left out, alike ones together.
        assert [draw for turn in range(accumulation_steps) for part in parts for draw in part[turn]] == batch


@pytest.mark.parametrize(("workers", "accumulation_steps"), [(3, 1), (2, 3), (32, 1)])
def test_a_batch_that_can_not_be_split_is_refused(workers: int, accumulation_steps: int) -> None:
    with pytest.raises(ValueError, match=f"16 can't be split over {workers} workers × {accumulation_steps}"):
        split_batch(make_sampler().batch(0), workers, accumulation_steps, 0)


def padding(sampler: BatchSampler, micro_batch: int) -> float:
    """Share of the samples of padded micro-batches that are padding."""
    longest = total = 0.0
    for step in range(sampler.steps):
        for part in split_batch(sampler.batch(step), 1, 16 // micro_batch, 0):
            seconds = [float(DURATIONS[draw.index]) for draw in part]
            longest += max(seconds) * len(seconds)
            total += sum(seconds)
    return 1 - total / longest


def test_duration_window_lowers_padding_and_changes_neither_shares_nor_utterances() -> None:
    plain, windowed = make_sampler(), make_sampler(duration_window=20)
    assert languages(windowed) == languages(plain)
    for first in range(0, 200, 20):
        window = range(first, first + 20)
        assert Counter(draw for step in window for draw in windowed.batch(step)) == Counter(
            draw for step in window for draw in plain.batch(step)
        )
    assert padding(windowed, micro_batch=16) < 0.5 * padding(plain, micro_batch=16)
    assert padding(plain, micro_batch=4) < 0.5 * padding(plain, micro_batch=16)


def test_batches_come_in_no_order_of_duration_within_a_window() -> None:
    sampler = make_sampler(duration_window=50, steps=50)
    seconds = [np.mean([DURATIONS[draw.index] for draw in sampler.batch(step)]) for step in range(50)]
    rise = np.corrcoef(seconds, range(50))[0, 1]
    assert abs(rise) < 0.5


PRINT_BATCHES = """
import numpy as np
from raywce.data.sampler import BatchSampler, language_shares

pools = {name: np.arange(20 * i, 20 * i + 20) for i, name in enumerate(["gl", "ca", "es"])}
shares = language_shares({name: 20 for name in pools})
durations = np.linspace(1, 5, 60).astype(np.float32)
sampler = BatchSampler(pools, durations, shares, batch_size=5, steps=30, seed=4, duration_window=3)
print([sampler.batch(step) for step in range(30)])
"""


def test_processes_agree_whatever_their_hash_seed() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PRINT_BATCHES],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert "Draw(index=" in outputs.pop()


def test_counts_grow_with_the_copies() -> None:
    assert with_copies(COUNTS, {"gl": 2, "ca": "all", "es": 0}) == {**COUNTS, "gl": 3 * COUNTS["gl"]}


@pytest.mark.parametrize("copies", [0, 1, 3, "all"])
def test_which_utterances_are_drawn_does_not_depend_on_the_copies(copies: Any) -> None:
    plain, augmented = make_sampler(), make_sampler(copies={"gl": copies})
    for step in range(plain.steps):
        drawn = [(draw.index, draw.epoch) for draw in augmented.batch(step)]
        assert drawn == [(draw.index, draw.epoch) for draw in plain.batch(step)]


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_n_of_n_plus_1_draws_are_augmented(copies: int) -> None:
    shares = {"gl": 0.5, "ca": 0.2, "es": 0.2, "pt": 0.1}
    sampler = make_sampler(shares=shares, copies={"gl": copies}, steps=600)
    draws = [draw for step in range(sampler.steps) for draw in sampler.batch(step)]
    assert {draw.copy for draw in draws if language(draw) != "gl"} == {0}
    seen: dict[int, list[tuple[int, int]]] = {}
    for draw in draws:
        if language(draw) == "gl":
            seen.setdefault(draw.index, []).append((draw.epoch, draw.copy))
    for turns in seen.values():  # in any n + 1 epochs in a row, once as recorded and once each copy
        numbers = [copy for _, copy in sorted(turns)]
        for start in range(len(numbers) - copies):
            assert sorted(numbers[start : start + copies + 1]) == list(range(copies + 1))
    for epoch in range(3):  # and in each epoch, that share of the utterances
        as_recorded = sum((epoch, 0) in turns for turns in seen.values())
        assert as_recorded == pytest.approx(COUNTS["gl"] / (copies + 1), abs=1)


def test_all_augments_each_draw() -> None:
    draws = [draw for step in range(200) for draw in make_sampler(copies={"gl": "all"}).batch(step)]
    assert {draw.copy for draw in draws if language(draw) == "gl"} == {1}
    assert {draw.copy for draw in draws if language(draw) != "gl"} == {0}


def test_a_share_of_the_draws_as_recorded_has_time_stamps() -> None:
    plain, timed = make_sampler(), make_sampler(timed=0.5)
    draws = [draw for step in range(plain.steps) for draw in timed.batch(step)]
    assert [replace(draw, timed=False) for draw in draws] == [
        draw for step in range(plain.steps) for draw in plain.batch(step)
    ]
    assert sum(draw.timed for draw in draws) / len(draws) == pytest.approx(0.5, abs=0.05)
    again = make_sampler(timed=0.5)
    assert again.batch(plain.steps - 1) == timed.batch(plain.steps - 1)
    epochs = {draw.index: {one.timed for one in draws if one.index == draw.index} for draw in draws}
    assert any(len(of) == 2 for of in epochs.values()), "not the same ones in each epoch"
    assert not any(draw.timed for step in range(plain.steps) for draw in make_sampler(timed=0.0).batch(step))
    assert all(draw.timed for step in range(plain.steps) for draw in make_sampler(timed=1.0).batch(step))


def test_an_augmented_copy_has_no_time_stamps() -> None:
    sampler = make_sampler(timed=1.0, copies={"gl": 1})
    draws = [draw for step in range(sampler.steps) for draw in sampler.batch(step)]
    assert {draw.timed for draw in draws if draw.copy} == {False}
    assert {draw.timed for draw in draws if not draw.copy} == {True}
