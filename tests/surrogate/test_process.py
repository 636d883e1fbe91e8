from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from raywce.surrogate.process import Process

Array = NDArray[np.float64]
NUMBERS = np.zeros(2, np.int64)


def measured(count: int = 40, noise: float = 0.05, seed: int = 0) -> tuple[Array, Array]:
    """A function of the first axis alone."""
    random = np.random.default_rng(seed)
    x = random.random((count, 2))
    return x, np.sin(5 * x[:, 0]) + noise * random.standard_normal(count)


def fitted(count: int = 40, noise: float = 0.05, share: Array | None = None) -> Process:
    x, y = measured(count, noise)
    return Process.fit(x, y, np.ones(count) if share is None else share, noise**2, NUMBERS)


def covariance(process: Process, one: Array, other: Array) -> Array:
    """Matérn 5/2, written down once more, element by element; none between a point and what is none."""
    out = np.empty((len(one), len(other)))
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            if np.isnan(a[0]) or np.isnan(b[0]):
                out[i, j] = process.constant + process.scale * (np.isnan(a[0]) and np.isnan(b[0]))
                continue
            parts = [float(p != q) if choices else p - q for p, q, choices in zip(a, b, process.choices, strict=True)]
            r = np.sqrt(5 * sum((part / length) ** 2 for part, length in zip(parts, process.lengths, strict=True)))
            out[i, j] = process.scale * (1 + r + r * r / 3) * np.exp(-r) + process.constant
    return out


@pytest.mark.parametrize("is_point", [True, False])
@pytest.mark.parametrize("choices", [NUMBERS, np.array([0, 3])])
def test_the_posterior_is_the_conditional_normal(choices: NDArray[np.int64], is_point: bool) -> None:
    random = np.random.default_rng(1)
    x = random.random((12, 2))
    x[:, 1] = np.floor(3 * x[:, 1]) if choices[1] else x[:, 1]
    x[0] = x[0] if is_point else np.nan
    y, share = random.standard_normal(12), random.random(12) + 0.5
    process = Process.fit(x, y, share, 0.04, choices)
    z = np.vstack([x[3:6] + np.array([0.1, 0.0]), x[:1]])
    found = process.posterior(z)
    noisy = covariance(process, x, x) + np.diag(process.noise * share + 1e-8)
    between = covariance(process, np.vstack([z, x[:1]]), x)
    mean = y.mean() + between @ np.linalg.solve(noisy, y - y.mean())
    of_all = covariance(process, np.vstack([z, x[:1]]), np.vstack([z, x[:1]]))
    whole = of_all - between @ np.linalg.solve(noisy, between.T)
    assert found.mean == pytest.approx(mean[:-1])
    assert found.variance == pytest.approx(np.diag(whole)[:-1], rel=1e-5, abs=1e-8)
    assert found.shared == pytest.approx(whole[:-1, -1], rel=1e-5, abs=1e-8)
    apart = np.diag(of_all)[:-1] + of_all[-1, -1] - 2 * of_all[:-1, -1]
    assert found.prior == pytest.approx(apart, rel=1e-5, abs=1e-6)


def test_an_axis_that_makes_no_difference_becomes_long() -> None:
    process = fitted()
    assert process.lengths[0] < 0.7 < process.lengths[1]


def test_the_noise_is_found_near_what_is_known() -> None:
    x, y = measured(80, noise=0.1)
    too_low = Process.fit(x, y, np.ones(80), 0.1**2 / 3, NUMBERS)
    assert 0.1**2 / 3 < too_low.noise < 1.3 * 0.1**2
    assert fitted(80, 0.1).noise == pytest.approx(0.1**2, rel=0.3)


def test_a_measurement_with_less_noise_is_believed_more() -> None:
    x, y = np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([0.0, 1.0])
    found = Process.fit(x, y, np.array([0.1, 1.0]), 0.2, NUMBERS).posterior(x[:1]).mean[0]
    assert found == pytest.approx(1 / 11, abs=0.02)  # by precision


@pytest.mark.parametrize("is_point", [True, False])
def test_expected_measurements_make_it_surer_and_change_no_mean(is_point: bool) -> None:
    x, y = measured(10)
    x[0] = x[0] if is_point else np.nan
    process, z = Process.fit(x, y, np.ones(10), 0.05**2, NUMBERS), np.random.default_rng(2).random((50, 2))
    more = process.with_expected(z[:3])
    before, after = process.posterior(z), more.posterior(z)
    assert after.mean == pytest.approx(before.mean, abs=1e-6)
    assert (after.variance <= before.variance + 1e-9).all()
    assert (after.variance[:3] < before.variance[:3] / 1.3).all()
    assert process.with_expected(z[:0]) is process


def test_what_is_left_out_is_as_far_off_as_a_process_without_it_says() -> None:
    process = fitted(12)
    x, y = measured(12)
    for number in range(12):
        rest = np.delete(np.arange(12), number)
        noisy = covariance(process, x[rest], x[rest]) + np.diag(np.full(11, process.noise + 1e-8))
        between = covariance(process, x[number : number + 1], x[rest])[0]
        mean = y.mean() + between @ np.linalg.solve(noisy, y[rest] - y.mean())
        own = covariance(process, x[:1], x[:1])[0, 0] + process.noise + 1e-8
        variance = own - between @ np.linalg.solve(noisy, between)
        assert process.left_out()[number] == pytest.approx((y[number] - mean) / np.sqrt(variance), rel=1e-4)


def test_one_measurement_is_enough() -> None:
    process = Process.fit(np.array([[0.2, 0.8]]), np.array([-1.0]), np.ones(1), 0.01, NUMBERS)
    found = process.posterior(np.array([[0.2, 0.8], [0.9, 0.1]]))
    assert found.mean == pytest.approx([-1.0, -1.0])
    assert np.isfinite(found.variance).all()


def test_measurements_that_are_all_equal_are_no_trouble() -> None:
    x, _ = measured(8)
    found = Process.fit(x, np.full(8, 0.3), np.ones(8), 1e-4, NUMBERS).posterior(x)
    assert found.mean == pytest.approx(np.full(8, 0.3))
