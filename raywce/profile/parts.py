"""Time of a step, by part."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from raywce.training.step import Stepper

NAMES = ("data", "features", "forward", "backward", "update")


class Parts:
    """A watch over a stepper's parts; on a GPU it waits at each part's end, and so slows the step down a little."""

    def __init__(self, stepper: Stepper, device: torch.device) -> None:
        self._device = device
        self._seconds = dict.fromkeys((*NAMES, "gradients"), 0.0)
        self._forward_began = 0.0
        stepper.model.register_forward_pre_hook(self._begin)
        stepper.model.register_forward_hook(self._end)
        if stepper.augmenter:
            watched: Any = _Watched(stepper.augmenter, self)
            self.stepper = replace(stepper, augmenter=watched)
        else:
            self.stepper = replace(stepper, log_mel=self._watched(stepper.log_mel))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time the block as that part."""
        began = self.now()
        yield
        self._seconds[name] += self.now() - began

    def now(self) -> float:
        """Return seconds, once what was begun on the device is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.monotonic()

    def shares(self) -> dict[str, float]:
        """Return each part's share of the time; backward includes the exchange between workers."""
        seconds = {**self._seconds}
        seconds["backward"] = seconds.pop("gradients") - seconds["features"] - seconds["forward"]
        total = sum(seconds.values())
        return {name: seconds[name] / total for name in NAMES}

    def _watched(self, log_mel: Any) -> Any:
        def watched(audio: torch.Tensor, frames: int | None) -> torch.Tensor:
            with self.timed("features"):
                features: torch.Tensor = log_mel(audio, frames)
                return features

        return watched

    def _begin(self, *_: Any) -> None:
        self._forward_began = self.now()

    def _end(self, *_: Any) -> None:
        self._seconds["forward"] += self.now() - self._forward_began


class _Watched:
    """An augmenter whose time is that of the features."""

    def __init__(self, augmenter: Any, parts: Parts) -> None:
        self._augmenter, self._parts = augmenter, parts
        self.keys = augmenter.keys

    def features(self, *arguments: Any) -> Any:
        with self._parts.timed("features"):
            return self._augmenter.features(*arguments)
