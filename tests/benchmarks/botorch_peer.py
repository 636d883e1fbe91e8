"""BoTorch's noisy expected improvement under constraints (Letham et al. 2019), as its users would put it together."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.objective import GenericMCObjective
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, SingleTaskGP
from botorch.models.transforms import Standardize
from botorch.optim import optimize_acqf
from gpytorch.mlls import SumMarginalLogLikelihood
from numpy.typing import NDArray
from scipy.stats import norm

from raywce.surrogate.cube import Cube

Array = NDArray[np.float64]
_RESTARTS, _RAW, _SAMPLES, _DRAWN = 4, 64, 64, 4000


class NoisyImprovement:
    """Suggestions over a cube, and what to recommend; choices are one-hot, whole numbers rounded after optimising.

    Figures are (n, 1 + constraints): what is minimised, and violations, <= 0 where they hold.
    """

    def __init__(self, cube: Cube, seed: int, startup: int) -> None:
        self.cube, self.seed, self.startup = cube, seed, startup
        self.random = np.random.default_rng(seed)

    def suggest(self, rows: Array, figures: Array) -> Array:
        """The next row of the cube."""
        if len(rows) < self.startup:
            return self.cube.drawn(1, self.random)[0]
        torch.manual_seed(self.seed + len(rows))
        x, model = self._encoded(rows), self._fitted(rows, figures)
        constraints = [lambda samples, column=column: samples[..., column] for column in range(1, figures.shape[1])]
        acquisition = qLogNoisyExpectedImprovement(
            model,
            x,
            sampler=_sampler(self.seed),
            objective=GenericMCObjective(lambda samples, X=None: -samples[..., 0]),
            constraints=constraints,
            prune_baseline=True,
        )
        bounds = torch.stack([torch.zeros(x.shape[1]), torch.ones(x.shape[1])]).double()
        found, _ = optimize_acqf(acquisition, bounds, q=1, num_restarts=_RESTARTS, raw_samples=_RAW)
        return self._decoded(found[0].detach().numpy())

    def recommend(self, rows: Array, figures: Array, keeps: float) -> Array:
        """The lowest posterior mean of those that keep all constraints with a probability; else the most probable."""
        near = [self.cube.moved(rows, self.random, width) for width in (0.2, 0.1, 0.05, 0.02) for _ in range(5)]
        drawn = self.cube.drawn(_DRAWN, self.random)
        z = np.vstack([rows, drawn, *near])
        model = self._fitted(rows, figures)
        with torch.no_grad():
            posterior = model.posterior(self._encoded(z))
        mean, deviation = posterior.mean.numpy(), posterior.variance.sqrt().numpy()
        chance = norm.cdf(-mean[:, 1:] / deviation[:, 1:]).prod(axis=1)
        best: Array = z[np.where(chance >= keeps, 1e6 - mean[:, 0], chance).argmax()]
        return best

    def _fitted(self, rows: Array, figures: Array) -> Any:
        x, y = self._encoded(rows), torch.from_numpy(figures).double()
        models = [SingleTaskGP(x, y[:, [column]], outcome_transform=Standardize(1)) for column in range(y.shape[1])]
        model = ModelListGP(*models)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        return model

    def _encoded(self, rows: Array) -> Any:
        columns = [
            (rows[:, [column]] == np.arange(count)).astype(float) if count else rows[:, [column]]
            for column, count in enumerate(self.cube.choices)
        ]
        return torch.from_numpy(np.hstack(columns)).double()

    def _decoded(self, encoded: Array) -> Array:
        out, start = [], 0
        for count in self.cube.choices:
            width = max(int(count), 1)
            part = encoded[start : start + width]
            out.append((part.argmax() + 0.5) / count if count else part[0])
            start += width
        found: Array = self.cube.snapped(np.array([out]))[0]
        return found


def _sampler(seed: int) -> Any:
    from botorch.sampling.normal import SobolQMCNormalSampler

    return SobolQMCNormalSampler(torch.Size([_SAMPLES]), seed=seed)
