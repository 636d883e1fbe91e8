import pytest
import torch

from raywce.training.optimizer import OptimizerSettings, learning_rate, make_optimizer, set_learning_rate


def settings(**changes: object) -> OptimizerSettings:
    values = {
        "learning_rate": 1.0,
        "weight_decay": 0.1,
        "beta1": 0.8,
        "beta2": 0.99,
        "epsilon": 1e-6,
        "warmup_steps": 0,
        "decay": "linear",
        "max_gradient_norm": None,
    }
    return OptimizerSettings(**{**values, **changes})  # type: ignore[arg-type]


def test_warm_up_then_linear_decay() -> None:
    rates = [learning_rate(settings(warmup_steps=4), step, steps=8) for step in range(8)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25])


def test_without_warm_up_the_first_update_has_the_full_rate() -> None:
    assert learning_rate(settings(), 0, 10) == 1.0


def test_without_decay_the_rate_stays() -> None:
    assert [learning_rate(settings(decay="none", warmup_steps=1), step, 4) for step in range(4)] == [1.0] * 4


def test_only_matrices_are_decayed_and_frozen_parameters_left_out() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3), torch.nn.Linear(3, 3))
    model[2].requires_grad_(False)
    decayed, kept = make_optimizer(model, settings()).param_groups
    assert [p.shape for p in decayed["params"]] == [(3, 3)]
    assert [p.shape for p in kept["params"]] == [(3,), (3,), (3,)]
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)


def test_every_setting_reaches_adamw() -> None:
    optimizer = make_optimizer(torch.nn.Linear(2, 2), settings(learning_rate=0.3))
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (0.3, (0.8, 0.99), 1e-6)
    set_learning_rate(optimizer, 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.2]
