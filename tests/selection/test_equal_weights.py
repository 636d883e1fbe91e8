from __future__ import annotations

import pytest

from raywce.experiment.schema import Experiment
from raywce.selection.equal_weights import alike, alike_notes, train_alike

STEPS = 4
RATIOS = (9.0, 8.0, 7.0, 6.0)


def setting(weighting: dict[str, object], rate: float = 1e-5, seed: int = 0) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "toy",
            "model": {"checkpoint": "openai/whisper-tiny"},
            "data": {"folder": "speech"},
            "languages": {"low_resource": ["gl"], "high_resource": ["es"]},
            "weighting": weighting,
            "training": {"steps": STEPS, "seed": seed, "optimizer": {"learning_rate": rate}},
        }
    )


def dynamic(alpha: float, **more: object) -> dict[str, object]:
    return {"kind": "dynamic", "alpha": alpha, **more}


def test_alphas_below_every_ratio_are_one_training() -> None:
    assert train_alike(setting(dynamic(2.0)), setting(dynamic(5.0), seed=3), RATIOS)
    assert not train_alike(setting(dynamic(2.0)), setting(dynamic(6.5)), RATIOS), "above the last step's ratio"


def test_with_a_cap_they_are_not() -> None:
    assert not train_alike(setting(dynamic(2.0, ratio_cap=3.0)), setting(dynamic(5.0, ratio_cap=3.0)), RATIOS)
    assert train_alike(setting(dynamic(2.0, ratio_cap=3.0)), setting(dynamic(2.5, ratio_cap=3.0)), RATIOS)


def test_one_of_another_kind_with_the_same_weights_is_the_same_training() -> None:
    family = {"kind": "family", "alpha_initial": 1.0, "alpha_final": 3.0, "ramp_fraction": 0.0}
    assert train_alike(setting({"kind": "constant", "alpha": 3.0}), setting(family), RATIOS)


@pytest.mark.parametrize(
    "other",
    [
        setting(dynamic(5.0), rate=2e-5),
        setting(dynamic(5.0, scope="batch")),
        setting({"kind": "constant", "alpha": 2.0}),
    ],
)
def test_what_differs_otherwise_is_another_training(other: Experiment) -> None:
    assert not train_alike(setting(dynamic(2.0)), other, RATIOS)


def test_a_batch_that_is_weighted_as_a_whole_knows_whether_the_weight_is_adaptive() -> None:
    """The constant weight multiplies by the mean of the batch, the adaptive one by itself."""
    constant = setting({"kind": "constant", "alpha": 9.5, "scope": "batch"})
    assert not train_alike(constant, setting(dynamic(9.5, scope="batch")), RATIOS)


def test_without_every_ratio_only_equal_schedules_are_alike() -> None:
    assert not train_alike(setting(dynamic(2.0)), setting(dynamic(5.0)), RATIOS[:3])
    assert train_alike(setting(dynamic(2.0)), setting(dynamic(2.0), seed=1), ())


def test_a_batch_without_a_ratio_has_weight_1() -> None:
    assert train_alike(setting(dynamic(2.0)), setting(dynamic(50.0)), (None,) * STEPS)


def test_trainings_are_grouped_under_the_first() -> None:
    alphas = {"a": 2.0, "b": 7.5, "c": 3.0, "d": 1.0}
    trainings = {name: (setting(dynamic(alpha)), RATIOS) for name, alpha in alphas.items()}
    assert alike(trainings) == {"a": ["c", "d"], "b": []}
    assert alike_notes(trainings) == [
        "a, c, d: one training but for the seed, as their weights are the same at every step"
    ]
    assert alike_notes({"a": trainings["a"]}) == []
