"""Gaussian process whose noise is nearly known, with one row, the reference, that others are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

_ROOT5 = np.sqrt(5.0)
_LENGTH = 0.27  # times the root of the number of axes: a prior's median lengthscale, of cubes with sides of 1
_LENGTH_WIDTH, _SCALE_WIDTH, _NOISE_WIDTH = 0.8, 1.5, 0.4  # standard deviations of priors of logarithms
_FURTHEST = 6.0  # of them from a prior's median
_LEAST_SPREAD = 1e-6
_JITTER = 1e-8
_ITERATIONS = 30


class Posterior(NamedTuple):
    """What a process knows of some settings (n,).

    Attributes:
        mean: of the function there.
        variance: of the function there, without noise.
        shared: its covariance with the function at the reference.
        prior: variance of what it is above the reference, before anything was measured.
    """

    mean: Array
    variance: Array
    shared: Array
    prior: Array


@dataclass(frozen=True)
class Process:
    """A fitted Gaussian process: Matérn 5/2 with a lengthscale for each axis, and an unknown constant.

    Its hyperparameters maximise the likelihood times log-normal priors (Rasmussen & Williams 2006, 5.4). That of the
    noise is narrow, as it is measured beforehand.

    Attributes:
        x: (n, axes) settings; the first is the reference. One with NaN is no point of the space: it is above the
            constant by a deviation of its own, which no other says anything of.
        choices: (axes,) how many choices an axis has; 0 where it holds numbers.
        lengths: (axes,).
        scale: variance of the function around its constant.
        constant: variance of the constant.
        noise: variance of a measurement with a share of 1.
        centre: mean of the measurements.
        lower: (n, n) Cholesky factor of their covariance.
        weights: (n,) its inverse times what they are above the centre.
    """

    x: Array
    choices: NDArray[np.int64]
    lengths: Array
    scale: float
    constant: float
    noise: float
    centre: float
    lower: Array
    weights: Array

    @classmethod
    def fit(cls, x: Array, y: Array, share: Array, noise: float, choices: NDArray[np.int64]) -> Process:
        """Fit a process to measurements.

        Args:
            x: (n, axes) settings; the first is the reference; NaN as above.
            y: (n,) measured there.
            share: (n,) of `noise` that is in each.
            noise: variance of a measurement's noise, as it is known beforehand.
            choices: (axes,) how many choices an axis has; 0 where it holds numbers.
        """
        axes, spread, centred = x.shape[1], max(float(y.var()), _LEAST_SPREAD), y - y.mean()
        squares, together, constant = _squares(x, choices), _together(x, x), 10 * spread
        length = np.log(_LENGTH * np.sqrt(axes))
        prior = np.r_[np.full(axes, length), np.log(2 * spread), np.log(noise)]
        width = np.r_[np.full(axes, _LENGTH_WIDTH), _SCALE_WIDTH, _NOISE_WIDTH]

        def loss(theta: Array) -> tuple[float, Array]:
            lengths, scale, of_noise = np.exp(2 * theta[:axes]), np.exp(theta[axes]), np.exp(theta[axes + 1])
            distance = np.sqrt(np.maximum(squares @ (1 / lengths), 1e-16))
            decay = together * np.exp(-_ROOT5 * distance)
            kernel = scale * (1 + _ROOT5 * distance + 5 / 3 * distance**2) * decay
            slope = scale * 5 / 3 * (1 + _ROOT5 * distance) * decay
            covariance = kernel + constant
            covariance[np.diag_indices_from(covariance)] += of_noise * share + _JITTER
            try:
                lower = cholesky(covariance, lower=True, check_finite=False)
            except np.linalg.LinAlgError:
                return 1e10, np.zeros_like(theta)
            inverse = cho_solve((lower, True), np.eye(len(y)), check_finite=False)
            weights = inverse @ centred
            outer = (inverse - np.outer(weights, weights)) / 2
            off = (theta - prior) / width
            gradient = np.r_[
                np.tensordot(outer * slope, squares, axes=2) / lengths,
                (outer * kernel).sum(),
                (np.diag(outer) * of_noise * share).sum(),
            ]
            value = 0.5 * centred @ weights + np.log(np.diag(lower)).sum() + 0.5 * off @ off
            return float(value), gradient + off / width

        bounds = np.c_[prior - _FURTHEST * width, prior + _FURTHEST * width]  # a step beyond them would overflow
        options = {"maxiter": _ITERATIONS}
        theta = minimize(loss, prior, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
        lengths, scale, of_noise = np.exp(theta[:axes]), float(np.exp(theta[axes])), float(np.exp(theta[axes + 1]))
        covariance = _kernel(x, x, lengths, scale, choices) + constant + np.diag(of_noise * share + _JITTER)
        lower = cholesky(covariance, lower=True)
        weights = cho_solve((lower, True), centred)
        return cls(x, choices, lengths, scale, constant, of_noise, float(y.mean()), lower, weights)

    def posterior(self, z: Array) -> Posterior:
        """Return what is known of the function at settings (m, axes)."""
        kernel = self._covariance(z)
        half = solve_triangular(self.lower, kernel.T, lower=True, check_finite=False)
        of_reference = solve_triangular(self.lower, self._covariance(self.x[:1])[0], lower=True, check_finite=False)
        variance = np.maximum(self.scale + self.constant - (half**2).sum(axis=0), 1e-12)
        prior = 2 * (self.scale + self.constant - kernel[:, 0])
        return Posterior(self.centre + kernel @ self.weights, variance, kernel[:, 0] - half.T @ of_reference, prior)

    def with_expected(self, x: Array) -> Process:
        """Return the process with measurements at more settings (m, axes), as they are expected: it is surer there."""
        if not len(x):
            return self
        settings = np.vstack([self.x, x])
        expected = self.posterior(x).mean - self.centre
        covariance = _kernel(settings, settings, self.lengths, self.scale, self.choices) + self.constant
        known = len(self.x)
        covariance[:known, :known] = self.lower @ self.lower.T
        covariance[np.arange(known, len(settings)), np.arange(known, len(settings))] += self.noise + _JITTER
        lower = cholesky(covariance, lower=True)
        centred = np.r_[self.lower @ (self.lower.T @ self.weights), expected]
        weights = cho_solve((lower, True), centred)
        return Process(
            settings, self.choices, self.lengths, self.scale, self.constant, self.noise, self.centre, lower, weights
        )

    def left_out(self) -> Array:
        """Return by how many standard deviations each measurement (n,) is off what the others lead to expect.

        Rasmussen & Williams 2006, 5.12.
        """
        inverse = np.diag(cho_solve((self.lower, True), np.eye(len(self.x))))
        off: Array = self.weights / np.sqrt(inverse)
        return off

    def _covariance(self, z: Array) -> Array:
        return _kernel(z, self.x, self.lengths, self.scale, self.choices) + self.constant


def _together(one: Array, other: Array) -> NDArray[np.bool_]:
    """Return which settings (n, axes) and (m, axes) are both points of the space, or neither: (n, m)."""
    apart, others_apart = (np.asarray(np.isnan(x).any(axis=1)) for x in (one, other))
    together: NDArray[np.bool_] = apart[:, None] == others_apart
    return together


def _squares(x: Array, choices: NDArray[np.int64]) -> Array:
    """Return the squared differences (n, n, axes), NaN as 0; of choices, whether they differ."""
    x = np.nan_to_num(x)
    squares: Array = (x[:, None] - x[None]) ** 2
    different = choices > 0
    squares[..., different] = squares[..., different] > 0
    return squares


def _kernel(one: Array, other: Array, lengths: Array, scale: float, choices: NDArray[np.int64]) -> Array:
    """Return Matérn 5/2 between settings (n, axes) and (m, axes): (n, m)."""
    numbers, together = choices == 0, _together(one, other)
    one, other = np.nan_to_num(one), np.nan_to_num(other)
    a, b = one[:, numbers] / lengths[numbers], other[:, numbers] / lengths[numbers]
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    for column in np.flatnonzero(~numbers):
        squared += (one[:, column, None] != other[:, column]) / lengths[column] ** 2
    distance = np.sqrt(np.maximum(squared, 1e-16))
    kernel: Array = together * scale * (1 + _ROOT5 * distance + 5 / 3 * distance**2) * np.exp(-_ROOT5 * distance)
    return kernel
