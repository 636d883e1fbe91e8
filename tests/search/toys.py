"""Constrained problems that cost nothing, with what is known about them: to measure samplers and early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Figures:
    """What one trial comes to.

    Attributes:
        objective: to be minimised, >= 0.
        violations: by constraint, <= 0 where it holds.
    """

    objective: float
    violations: dict[str, float]

    @property
    def violation(self) -> float:
        """The largest one."""
        return max(self.violations.values())

    @property
    def feasible(self) -> bool:
        """Whether all constraints hold."""
        return self.violation <= 0

    def report(self, step: int, final: bool) -> dict[str, Any]:
        """In the form of a trial's report to Tune."""
        by_name = {f"violation/{name}": value for name, value in self.violations.items()}
        figures = {"objective": self.objective, "feasible": self.feasible, "violation": self.violation}
        return {"step": step, "training_iteration": step, "final": final, **figures, **by_name}


@dataclass(frozen=True)
class Toy:
    """A problem over a flat space."""

    name: str
    space: dict[str, BaseDistribution]
    evaluate: Callable[[Values], Figures]


def branin(values: Values) -> Figures:
    """Branin's function in a disk around the middle of its box; minimum 0.398, at its third root."""
    x, y = values["x"], values["y"]
    bowl = (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
    objective = bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10
    return Figures(objective, {"disk": (x - 2.5) ** 2 + (y - 7.5) ** 2 - 50.0})


def wer(values: Values) -> Figures:
    """A fine-tuning as one might imagine it, in % and points of WER; the optimum lies on the limits.

    The low-resource WER falls with alpha, and has a best learning rate, augmentation and ramp; the high-resource ones
    rise with alpha and learning rate, less where the weight is gated.
    """
    rate = math.log10(values["learning_rate"])
    gain = 1 - math.exp(-0.7 * (values["alpha"] - 1))
    objective = 30 - 9 * gain + 5 * (rate + 4.3) ** 2
    objective += 6 * (values["strength"] - 0.35) ** 2 + 3 * (values["ramp_start"] - 0.4) ** 2
    gate = 0.75 if values["adaptive"] else 1.0
    push = gate * (values["alpha"] - 1) / 2.3 * (1 + 0.9 * (rate + 5)) * (1 + 0.5 * (values["ramp_start"] - 0.3) ** 2)
    strength = values["strength"]
    return Figures(
        objective,
        {
            "es": 2.0 * push - 1.6 - 0.5 * strength,
            "pt": 2.4 * push - 1.9 - 0.3 * strength,
            "en": 1.2 * push - 1.3 + 0.6 * strength,
        },
    )


def wer_mid(values: Values) -> Figures:
    """`wer` with limits that few settings keep."""
    found = wer(values)
    off = 0.6 * abs(values["strength"] - 0.35)
    tighter = {"es": 0.9, "pt": 1.05, "en": 0.8}
    return replace(found, violations={name: v + tighter[name] + off for name, v in found.violations.items()})


WER_SPACE: dict[str, BaseDistribution] = {
    "alpha": FloatDistribution(1, 8),
    "learning_rate": FloatDistribution(1e-6, 1e-3, log=True),
    "strength": FloatDistribution(0, 1),
    "ramp_start": FloatDistribution(0, 1),
    "adaptive": CategoricalDistribution([False, True]),
}
BRANIN = Toy("branin", {"x": FloatDistribution(-5, 10), "y": FloatDistribution(0, 15)}, branin)
WER = Toy("wer", WER_SPACE, wer)
WER_MID = Toy("wer mid", WER_SPACE, wer_mid)
TOYS = (BRANIN, WER, WER_MID)
