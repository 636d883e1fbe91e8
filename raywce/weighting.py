"""The weight alpha of a low-resource language's cross-entropy over the steps: one family for all strategies.

Source: arXiv 2409.16954, sections 3.1 (linear progressive) and 3.2 (dynamic adaptation); the family joins them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class AlphaSchedule:
    """One member of the family.

    Attributes:
        alpha_initial: weight at `ramp_start`, > 0.
        alpha_final: weight from `ramp_end` on, > 0.
        ramp_start: share of the training, 0 to 1, before which the weight is 1 (the paper's N_min / N_total).
        ramp_fraction: share of what is left after `ramp_start`, 0 to 1, that the linear ramp takes.
        adaptive: gate the weight by the global batch's loss ratio (the paper's dynamic adaptation).
        ratio_cap: the largest loss ratio that the gate sees, >= 1; None: the paper's gate, without such a bound. A
            ratio above every alpha is the weight, whatever alpha is.
    """

    alpha_initial: float = 1.0
    alpha_final: float = 1.0
    ramp_start: float = 0.0
    ramp_fraction: float = 0.0
    adaptive: bool = False
    ratio_cap: float | None = None

    def alpha(self, step: int, max_steps: int) -> float:
        """Return the scheduled weight after `step` completed optimizer steps of `max_steps`, before any gate."""
        progress = step / max_steps
        if progress < self.ramp_start:
            return 1.0
        ramp_end = self.ramp_start + self.ramp_fraction * (1.0 - self.ramp_start)
        if progress >= ramp_end:
            # A ramp that ends where it starts is a step to alpha_final.
            return self.alpha_final
        share = (progress - self.ramp_start) / (ramp_end - self.ramp_start)
        return self.alpha_initial + (self.alpha_final - self.alpha_initial) * share

    def in_force(self, step: int, max_steps: int, ratio: float | None) -> float:
        """Return the weight after `step` completed steps, of a batch with this loss ratio (see `LossSums.ratio`).

        The gate begins at `ramp_start`: before it, the weight is 1 whatever the losses are.
        """
        alpha = self.alpha(step, max_steps)
        if not self.adaptive or step / max_steps < self.ramp_start:
            return alpha
        if self.ratio_cap is not None and ratio is not None and math.isfinite(ratio):
            ratio = min(ratio, self.ratio_cap)
        return gated_alpha(alpha, ratio)


@dataclass(frozen=True)
class LossSums:
    """Unweighted token losses of the global batch, summed apart for the low- and the high-resource part."""

    low_loss: float
    low_tokens: int
    high_loss: float
    high_tokens: int

    @property
    def ratio(self) -> float | None:
        """r = mean low-resource loss / mean high-resource loss; None where a side is missing or its loss is 0."""
        if self.low_tokens == 0 or self.high_tokens == 0 or self.high_loss <= 0:
            return None
        return (self.low_loss / self.low_tokens) / (self.high_loss / self.high_tokens)


def gated_alpha(alpha: float, ratio: float | None) -> float:
    """Return the weight by the paper's dynamic gate: 1 where alpha * r < 1, else max(alpha, r).

    A batch without a low- or a high-resource part has no ratio; the gate stays closed (weight 1), since there is
    nothing to balance and a weight would only scale the step.
    """
    if ratio is None or alpha * ratio < 1.0:
        return 1.0
    return max(alpha, ratio) if math.isfinite(ratio) else ratio


def alphas_in_force(
    schedules: Mapping[str, AlphaSchedule], step: int, max_steps: int, sums: LossSums | None
) -> dict[str, float]:
    """Return each low-resource language's weight at `step`; `sums` is needed where a schedule is adaptive."""
    if sums is None and any(schedule.adaptive for schedule in schedules.values()):
        raise ValueError("an adaptive schedule needs the global batch's loss sums")
    ratio = sums.ratio if sums else None
    return {language: schedule.in_force(step, max_steps, ratio) for language, schedule in schedules.items()}
