"""A trial's checkpoint: a complete transformers folder, with what the training needs to go on exactly beside it.

The sampler and dropout follow from the step and the seed, and the learning rate from the step: with the weights,
the optimizer's state and the scaler's, the step is all that a resumed run has to know.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from raywce.model import load_model, save_model
from raywce.runs.folder import STATE_FILE


@dataclass(frozen=True)
class TrainingState:
    """Beside the weights.

    Attributes:
        step: completed optimizer steps.
        optimizer: AdamW's state.
        scaler: the gradient scaler's state, where there is one.
        seconds: spent training and evaluating so far.
        report: the last report of an evaluation, to be given again where a run ends between checkpoint and report.
    """

    step: int
    optimizer: dict[str, Any]
    scaler: dict[str, Any] | None
    seconds: float
    report: dict[str, Any]


def save_checkpoint(folder: Path, model: Any, state: TrainingState, source: str, revision: str | None) -> None:
    """Write the model (with `source`'s tokenizer and preprocessor) and the state into `folder`."""
    save_model(model, source, folder, revision)
    torch.save(asdict(state), folder / STATE_FILE)


def load_state(folder: Path) -> TrainingState:
    """Read what `save_checkpoint` wrote beside the model."""
    return TrainingState(**torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True))


def load_weights(model: Any, folder: Path) -> None:
    """Put the checkpoint's weights into a model of the same configuration."""
    model.load_state_dict(load_model(str(folder)).state_dict())
