"""A trial's checkpoint: a complete transformers folder, and beside it what the training needs to resume exactly.

The sampler and dropout follow from the step and the seed, and the learning rate from the step: with the weights,
the optimizer's state and the scaler's, the step is all that a resumed run has to know.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError

from raywce.errors import fail, first_sentence
from raywce.lora import has_adapter, load_adapter
from raywce.model import load_model, save_model
from raywce.runs.folder import CHECKPOINT, STATE_FILE
from raywce.storage import files
from raywce.training.memory import is_out_of_memory

if TYPE_CHECKING:
    from transformers import WhisperForConditionalGeneration


@dataclass(frozen=True)
class TrainingState:
    """State of a training beside the weights.

    Attributes:
        step: completed optimizer steps.
        optimizer: AdamW's state.
        scaler: the gradient scaler's state, where there is one.
        seconds: spent training and evaluating so far.
        report: the last report of an evaluation, to be given again where a run ends between checkpoint and report.
    """

    step: int
    optimizer: dict[str, object]
    scaler: dict[str, object] | None
    seconds: float
    report: Mapping[str, object]


def save_checkpoint(
    folder: Path, model: WhisperForConditionalGeneration, state: TrainingState, source: str, revision: str | None
) -> None:
    """Write the model (with `source`'s tokenizer and preprocessor) and the state into `folder`.

    Tensors are written from where they are, one after the other: on a GPU it takes no memory.

    Raises:
        OSError: the disk is full.
    """
    # Both writers have errors of their own where a disk is full, and torch's don't say so.
    with _as_full_disk(SafetensorError, folder):
        save_model(model, source, folder, revision)
    # `dataclasses.asdict` would copy the optimizer's tensors first.
    values = {one.name: getattr(state, one.name) for one in fields(state)}
    with _as_full_disk(RuntimeError, folder):
        torch.save(values, folder / STATE_FILE)


@contextmanager
def _as_full_disk(kind: type[Exception], folder: Path) -> Iterator[None]:
    try:
        yield
    except kind as error:
        if is_out_of_memory(error):
            raise
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({first_sentence(error)})", str(folder)) from error


def load_checkpoint(model: WhisperForConditionalGeneration, folder: Path, place: str) -> TrainingState:
    """Put a checkpoint's weights into a model of the same configuration, and return its state.

    Args:
        model: to resume.
        folder: of the checkpoint, on this machine.
        place: path or URI of the checkpoint, for messages.

    Raises:
        InputError: it is damaged; the message says what to remove to resume from the one before.
    """
    with _whole(place, STATE_FILE):
        state = load_state(folder)
    with _whole(place, "model"):
        load_weights(model, folder)
    return state


@contextmanager
def _whole(place: str, part: str) -> Iterator[None]:
    """Name the checkpoint and its part that can't be read in the block, and what to remove."""
    try:
        yield
    except Exception as error:  # torch, safetensors and transformers raise many kinds
        trial, _, name = place.rpartition("/")
        names = sorted(one.base_name for one in files.entries(trial))
        before = [other for other in names if other.startswith(CHECKPOINT) and other < name]
        then = f"resumes from {before[-1]}" if before else "begins at the first step"
        do = f"Remove this folder, and the same command {then}"
        fail(place, "a checkpoint must be whole to resume from it", f"{part}: {first_sentence(error)}", do)


def load_state(folder: Path) -> TrainingState:
    """Read what `save_checkpoint` wrote beside the model."""
    return TrainingState(**torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True))


def load_weights(model: WhisperForConditionalGeneration, folder: Path) -> None:
    """Put the checkpoint's weights, or its adapter, into a model of the same configuration."""
    if has_adapter(model):
        load_adapter(model, folder)
    else:
        model.load_state_dict(load_model(str(folder)).state_dict())
