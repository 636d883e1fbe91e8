"""Time of a step, by part."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch

from raywce.training.step import Stepper

NAMES = ("data", "features", "forward", "backward", "update")


def now(device: torch.device) -> float:
    """Return seconds, once what was begun on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


class Parts:
    """A watch over a stepper's parts; on a GPU it waits at each part's end, and so slows the step down a little."""

    def __init__(self, stepper: Stepper, device: torch.device) -> None:
        self._device = device
        self._seconds = dict.fromkeys((*NAMES, "gradients"), 0.0)
        self._forward_began = 0.0
        stepper.model.register_forward_pre_hook(self._begin)
        stepper.model.register_forward_hook(self._end)
        as_features = self.timed("features")
        if augmenter := stepper.augmenter:
            watched: Any = SimpleNamespace(keys=augmenter.keys, features=as_features(augmenter.features))
            self.stepper = replace(stepper, augmenter=watched)
        else:
            self.stepper = replace(stepper, log_mel=as_features(stepper.log_mel))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time the block, or each call of the function that it decorates, as that part."""
        began = now(self._device)
        yield
        self._seconds[name] += now(self._device) - began

    def shares(self) -> dict[str, float]:
        """Return each part's share of the time; backward includes the exchange between workers."""
        seconds = {**self._seconds}
        seconds["backward"] = seconds.pop("gradients") - seconds["features"] - seconds["forward"]
        total = sum(seconds.values())
        return {name: seconds[name] / total for name in NAMES}

    def _begin(self, *_: object) -> None:
        self._forward_began = now(self._device)

    def _end(self, *_: object) -> None:
        self._seconds["forward"] += now(self._device) - self._forward_began
