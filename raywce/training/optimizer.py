"""AdamW and its learning rate over the steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW's values, the warm-up in steps, and whether the rate decays linearly to 0 at the last step."""

    learning_rate: float
    weight_decay: float
    beta1: float
    beta2: float
    epsilon: float
    warmup_steps: int
    decay: str
    max_gradient_norm: float | None


def make_optimizer(model: torch.nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters; biases and norms are not decayed."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2), eps=settings.epsilon, fused=True
    )


def learning_rate(settings: OptimizerSettings, step: int, steps: int) -> float:
    """Return the rate of the update after `step` others: it rises to the full rate in `warmup_steps` updates."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    if settings.decay == "none":
        return settings.learning_rate
    return settings.learning_rate * (steps - step) / (steps - settings.warmup_steps)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Put `rate` into every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
