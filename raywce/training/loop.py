"""The training loop of a Ray Train worker: steps, and what is evaluated, saved and reported between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from raywce.data.loader import StepBatch
from raywce.training.memory import explained
from raywce.training.optimizer import learning_rate, set_learning_rate
from raywce.training.session import Session
from raywce.training.setup import Worker, work
from raywce.training.step import NotFiniteError, StepResult, update
from raywce.trial_report import Report


def train_worker(config: Mapping[str, object], session: Session) -> None:
    """Do a worker's part of the whole training; arguments as of `raywce.training.setup.work`."""
    work(config, session, train)


def train(worker: Worker) -> None:
    """Train from the checkpoint's step, or the first one, to the last.

    Raises:
        NotFiniteError: the loss or the gradients of a step; the message has the step and the utterances.
        OutOfMemory: the message has the batch, the encoder's context and what to lower.
    """
    training = worker.training
    if worker.first_step == 0 and training.evaluate_at_start:
        worker.report(_evaluated(worker, Report(0)))
    if worker.first_step == training.steps:  # cut off after its last checkpoint: only the report may be missing
        worker.report(replace(worker.last_evaluation, step=training.steps))
        return
    stepper = worker.stepper(worker.wrapped())
    loader = worker.loader_of(training.batch_size, training.accumulation_steps)
    seen = _Seen(worker.scaler)
    for step, batch in enumerate(loader.batches(worker.first_step), start=worker.first_step):
        set_learning_rate(worker.optimizer, learning_rate(worker.settings, step, training.steps))
        try:
            with explained(*worker.memory_of(batch)):
                result = stepper.gradients(batch, step)
                updated = update(worker.model, worker.optimizer, worker.settings.max_gradient_norm, worker.scaler)
        except NotFiniteError as error:
            raise NotFiniteError(f"step {step + 1}: {error}; utterances: {', '.join(batch.ids)}") from error
        seen.add(batch, result, updated)
        _after(worker, step + 1, result, seen)


def _after(worker: Worker, done: int, result: StepResult, seen: _Seen) -> None:
    """Evaluate, save and report what is due after `done` steps."""
    training = worker.training
    last = done == training.steps
    evaluate = last or _due(done, training.evaluate_every)
    save = last or _due(done, training.checkpoint_every or training.evaluate_every)
    if not (evaluate or save or _due(done, training.log_every)):
        return
    rate = learning_rate(worker.settings, done - 1, training.steps)
    report = replace(seen.take(done), alpha=result.alphas, learning_rate=rate)
    if evaluate:
        report = worker.last_evaluation = _evaluated(worker, report)
    worker.report(report, save)


def _evaluated(worker: Worker, report: Report) -> Report:
    whole = report.step in (0, worker.training.steps)
    evaluation = worker.experiment.evaluation
    what = f"decoding {evaluation.batch_size} utterances of dev at once (encoder context: {evaluation.encoder_context})"
    with explained(what, "Lower evaluation.batch_size"):
        return worker.dev.evaluate(worker.model, report, worker.folder, whole=whole)


def _due(done: int, every: int | None) -> bool:
    return every is not None and done % every == 0


@dataclass
class _Seen:
    """Token losses, utterances, loss ratios and skipped updates since the last report, over all ranks."""

    scaler: torch.amp.GradScaler | None
    losses: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    utterances: dict[str, int] = field(default_factory=dict)
    ratios: list[float | None] = field(default_factory=list)
    skipped: int = 0

    def add(self, batch: StepBatch, result: StepResult, updated: bool) -> None:
        for language, tokens in batch.tokens.items():
            self.losses[language] = self.losses.get(language, 0.0) + result.losses[language]
            self.tokens[language] = self.tokens.get(language, 0) + tokens
        for language, count in batch.utterances.items():
            self.utterances[language] = self.utterances.get(language, 0) + count
        self.ratios.append(result.ratio)
        self.skipped += not updated

    def take(self, step: int) -> Report:
        """Return the means and sums since the last report, and what the scaler did; start again."""
        loss = {name: self.losses[name] / tokens for name, tokens in self.tokens.items() if tokens}
        counts = {name: float(count) for name, count in self.utterances.items()}
        report = Report(step, loss=loss, utterances_seen=counts, ratios=tuple(self.ratios))
        if self.scaler:
            report = replace(report, skipped_steps=self.skipped, loss_scale=self.scaler.get_scale())
        self.losses, self.tokens, self.utterances, self.ratios, self.skipped = {}, {}, {}, [], 0
        return report
