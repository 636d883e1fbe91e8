"""A training's reports: named fields here, flat keys where Ray Tune and parquet need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

Flat = Mapping[str, Any]
"""Figures under flat keys, as a result of Tune and a row of `trials.parquet` have them."""

OBJECTIVE, STEP, FINAL = "objective", "step", "final"
RATES = ("wer", "cer", "wer_raw", "wer_normalized", "cer_raw", "cer_normalized")
_ALL_RATES = (*RATES, "insertion_rate", "language_identification")
_BY_LANGUAGE = {
    "loss": "loss",
    "utterances_seen": "utterances_seen",
    "alpha": "alpha",
    "left_out": "left_out",
    "beyond_context": "beyond_context",
    "violations": "violation",
}


@dataclass(frozen=True)
class Report:
    """One report of a training, from its workers, with what the controller and the driver add.

    Attributes:
        step: completed optimizer steps.
        final: whether it is the last one.
        time_s: seconds spent training and evaluating so far.
        loss: mean token loss (nats) since the report before, by language.
        utterances_seen: since the report before, over all workers, by language.
        alpha: weight in force, by low-resource language.
        ratios: loss ratio of each step since the report before (`raywce.weighting.LossSums.ratio`).
        learning_rate: of the last step.
        precision: that the training computes in: what `auto` stands for.
        skipped_steps: since the report before, whose fp16 gradients overflowed: they changed no weight; None without
            fp16.
        loss_scale: by which fp16's losses are multiplied from the next step on; None without fp16.
        warning: what the card lacks for the precision, or the disk for encoder states that could be kept.
        rates: fractions by name (`wer`, `cer`, `wer_raw`, …) and language; empty without an evaluation.
        objective: what is minimised, a fraction: mean low-resource rate, or with WERs and CERs among them the mean of
            their shares of the baseline's (`raywce.selection.objective`), which is their geometric mean in a training
            by itself; None without an evaluation.
        intermediate: whether the evaluation can't be compared with the last one.
        utterances: path or URI of the table of what was decoded.
        left_out: train utterances whose labels exceed the decoder's positions, by language.
        beyond_context: train utterances that exceed a fixed encoder context, by language.
        restarts: how often the workers had to be started again.
        checkpoint: path of the checkpoint that came with it.
        placement_group_id: of the workers.
        controller_id: of Ray Train's controller.
        violations: points of its rate above the limit, by language that has one; <= 0 holds.
        violation: the largest of them.
        feasible: whether every limit holds.
        failure: why the training can't succeed, however often it is tried.
        storage_failure: why the storage can't be written; no other trial would fare better.
        profile: what a profile measured.
    """

    step: int = 0
    final: bool = False
    time_s: float | None = None
    loss: Mapping[str, float] = field(default_factory=dict)
    utterances_seen: Mapping[str, float] = field(default_factory=dict)
    alpha: Mapping[str, float] = field(default_factory=dict)
    ratios: Sequence[float | None] = ()
    learning_rate: float | None = None
    precision: str | None = None
    skipped_steps: int | None = None
    loss_scale: float | None = None
    warning: str | None = None
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    objective: float | None = None
    intermediate: bool = False
    utterances: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    beyond_context: Mapping[str, int] = field(default_factory=dict)
    restarts: int = 0
    checkpoint: str | None = None
    placement_group_id: str | None = None
    controller_id: str | None = None
    violations: Mapping[str, float] = field(default_factory=dict)
    violation: float | None = None
    feasible: bool | None = None
    failure: str | None = None
    storage_failure: str | None = None
    profile: Mapping[str, Any] | None = None

    @property
    def wer(self) -> Mapping[str, float]:
        """WER of the experiment's texts and cap, fractions by language; empty without an evaluation."""
        return self.rates.get("wer", {})

    @property
    def cer(self) -> Mapping[str, float]:
        """CER of the same, fractions by language; empty without an evaluation."""
        return self.rates.get("cer", {})

    def flat(self) -> dict[str, object]:
        """Return its figures under flat keys, such as `wer/gl` and `violation/es`; what it lacks is left out."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        by_language = {key: values.pop(name) for name, key in _BY_LANGUAGE.items()} | values.pop("rates")
        single = {name: value for name, value in values.items() if value is not None and value != ()}
        return single | {f"{key}/{language}": of[language] for key, of in by_language.items() for language in of}

    @classmethod
    def of(cls, flat: Flat) -> Report:
        """Return the report of flat keys: Tune's result, or a row of `trials.parquet`; other keys are ignored."""
        by_key: dict[str, dict[str, Any]] = {}
        for name, value in flat.items():
            key, slash, language = name.partition("/")
            if slash and value is not None:
                by_key.setdefault(key, {})[language] = value
        names = {one.name for one in fields(cls)} - {*_BY_LANGUAGE, "rates"}
        single = {name: flat[name] for name in names if flat.get(name) is not None}
        nested: dict[str, Any] = {name: by_key.get(key, {}) for name, key in _BY_LANGUAGE.items()}
        return cls(**single, **nested, rates={name: by_key[name] for name in _ALL_RATES if name in by_key})
