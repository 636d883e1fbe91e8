"""The measurements of one training by a profile, and their file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from raywce.experiment.schema import Experiment
from raywce.runs.folder import RunFolder
from raywce.valid_json import as_json

PROFILE = "profile.json"

_WAITS = 0.2  # share of a step that it waits for its batch
_FASTER = 1.2  # times as many utterances a second with other batches
_BUSY = 0.5  # share of the matrix peak

_OF_A_TRAINING = ("model", "data", "languages", "augmentation", "training", "evaluation", "resources")


@dataclass(frozen=True)
class Batches:
    """Steps of one global batch size, split in one way.

    Attributes:
        batch_size: of the global batch.
        accumulation_steps: of it.
        micro_batch: utterances that a worker puts through the model at once.
        utterances_per_second: of all workers, without their exchange of gradients; None where it did not fit.
        gigabytes: peak of the worker with the most, of its GPU or its process; None if unknown.
        why_not: why there are no figures, if there are none.
    """

    batch_size: int
    accumulation_steps: int
    micro_batch: int
    utterances_per_second: float | None = None
    gigabytes: float | None = None
    why_not: str | None = None


@dataclass(frozen=True)
class Measured:
    """One training on the cluster at hand; rates are of all its workers together.

    Attributes:
        experiment: that was measured, as plain values.
        nodes: CPUs and GPUs of each node that was there.
        when: ISO 8601, UTC.
        connect_s: seconds until the cluster was there; 0 where one was joined.
        around_s: of a training beyond all below: start and end of its processes.
        open_s: until model and data are open.
        first_steps_s: extra seconds of the first steps.
        steps: how many were measured.
        step_s: of a step.
        utterances_per_second: that are trained on.
        audio_per_second: seconds of audio that are trained on, a second.
        shares: of a step's time, by part; they add up to 1.
        precision: that `auto` is there.
        matrix_peak: floating-point operations a second of a worker's largest products, in that precision.
        of_peak: share of it that a step reaches.
        gigabytes: peak of the worker with the most.
        train: how many utterances are trained on.
        encoded_per_second: utterances whose encoder states are computed, to be kept; None where train's are not kept.
            Steps and decoding are then measured with the states there, as after the first training.
        save_s: of a checkpoint, into the storage.
        decoded_per_second: utterances of dev.
        dev: how many utterances of dev there are, by part.
        batches: other ways to make batches.
    """

    experiment: dict[str, Any]
    nodes: list[dict[str, float]]
    when: str
    connect_s: float
    around_s: float
    open_s: float
    first_steps_s: float
    steps: int
    step_s: float
    utterances_per_second: float
    audio_per_second: float
    shares: dict[str, float]
    precision: str
    matrix_peak: float
    of_peak: float
    gigabytes: float | None
    train: int
    encoded_per_second: float | None
    save_s: float
    decoded_per_second: float
    dev: dict[str, int]
    batches: list[Batches]

    def changed(self, experiment: Experiment) -> list[str]:
        """Return the sections that a training's time depends on and that differ in `experiment`."""
        now = experiment.model_dump(mode="json")
        return [name for name in _OF_A_TRAINING if now[name] != self.experiment[name]]

    def write(self, folder: RunFolder) -> None:
        """Write it into a run folder."""
        folder.write_text(PROFILE, as_json(asdict(self)))

    @classmethod
    def read(cls, folder: RunFolder) -> Measured | None:
        """Return the last one of a run folder; None if there is none that can be read."""
        if not folder.has(PROFILE):
            return None
        try:
            return cls.of(json.loads(folder.read_text(PROFILE)))
        except (ValueError, TypeError, KeyError):
            return None

    @classmethod
    def of(cls, figures: Mapping[str, Any]) -> Measured:
        """Return the measurements with these values, as the file has them."""
        return cls(**{**figures, "batches": [Batches(**one) for one in figures["batches"]]})

    def fastest(self) -> Batches | None:
        """Return the fastest way to split the file's own batch; all of them train the same."""
        size = self.experiment["training"]["batch_size"]
        own = [one for one in self.batches if one.batch_size == size and one.utterances_per_second]
        return max(own, key=lambda one: one.utterances_per_second or 0.0, default=None)

    @property
    def limited_by(self) -> str:
        """Return what most limits a step's speed, and what to do about it."""
        own = self.experiment["training"]["accumulation_steps"], self.experiment["training"]["batch_size"]
        rates = {(one.accumulation_steps, one.batch_size): one.utterances_per_second or 0.0 for one in self.batches}
        if self.shares["data"] > _WAITS:
            return "input: raise resources.loader_threads"
        if max(rates.values(), default=0.0) > _FASTER * rates.get(own, math.inf):
            return "small micro-batches: see which are faster"
        return "products" if self.of_peak > _BUSY else "memory traffic between the products"

    def largest(self) -> Batches | None:
        """Return the largest micro-batch that fits."""
        fitting = [one for one in self.batches if one.utterances_per_second]
        return max(fitting, key=lambda one: one.micro_batch, default=None)
