"""A profile with round figures."""

from __future__ import annotations

from typing import Any

from raywce.experiment.schema import Experiment
from raywce.profile.measured import Batches, Measured


def measured(experiment: Experiment, **changes: Any) -> Measured:
    """Ten seconds around a training, a second a step, two a checkpoint, and ten utterances decoded a second."""
    figures: dict[str, Any] = {
        "nodes": [{"CPU": 4.0, "GPU": 0.0}],
        "when": "2026-01-02T03:04:05+00:00",
        "connect_s": 7.0,
        "around_s": 5.0,
        "open_s": 3.0,
        "first_steps_s": 2.0,
        "steps": 20,
        "step_s": 1.0,
        "utterances_per_second": 16.0,
        "audio_per_second": 80.0,
        "shares": {"data": 0.0, "features": 0.1, "forward": 0.3, "backward": 0.5, "update": 0.1},
        "precision": "bf16",
        "matrix_peak": 2e12,
        "of_peak": 0.25,
        "gigabytes": 1.5,
        "train": 1000,
        "encoded_per_second": None,
        "save_s": 2.0,
        "decoded_per_second": 10.0,
        "dev": {"all": 100, "search": 60, "confirm": 40},
        "batches": [Batches(16, 1, 16, 16.0, 1.5), Batches(16, 2, 8, 18.0, 1.0), Batches(32, 1, 32, None, None, "no")],
    }
    return Measured(**{"experiment": experiment.model_dump(mode="json"), **figures, **changes})
