"""The training loop of a Ray Train worker: steps, and what is evaluated, saved and reported between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from raywce.data.loader import StepBatch
from raywce.experiment.schema import Training
from raywce.training.memory import explained
from raywce.training.optimizer import learning_rate, set_learning_rate
from raywce.training.session import Session
from raywce.training.setup import Worker, work
from raywce.training.step import NotFiniteError, Unread, update
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
    if worker.first_step and worker.last_evaluation.step == worker.first_step:
        worker.report(worker.last_evaluation)  # it may be missing, of a run that was cut off after the checkpoint
    if worker.first_step == training.steps:
        return
    stepper = worker.stepper(worker.wrapped())
    loader = worker.loader_of(training.batch_size, training.accumulation_steps)
    seen, before = _Seen(worker.scaler), None
    for step, batch in enumerate(loader.batches(worker.first_step), start=worker.first_step):
        set_learning_rate(worker.optimizer, learning_rate(worker.settings, step, training.steps))
        with explained(*worker.memory_of(batch)):
            unread = stepper.gradients(batch, step)
            norm = update(worker.model, worker.optimizer, worker.settings.max_gradient_norm, worker.scaler)
        if before:
            seen.add(*before)  # read a step late: a GPU has this one to do meanwhile
        before = step + 1, batch, unread, norm
        if due := _Due.after(step + 1, worker.training):
            seen.add(*before)
            before = None
            _report(worker, step + 1, unread.alphas, seen, due)


@dataclass(frozen=True)
class _Due:
    """What a report is due for, beside the losses."""

    evaluation: bool
    checkpoint: bool

    @classmethod
    def after(cls, done: int, training: Training) -> _Due | None:
        """Return what is due after so many steps; None where no report is."""

        def due(every: int | None) -> bool:
            return done == training.steps or (every is not None and done % every == 0)

        found = cls(due(training.evaluate_every), due(training.checkpoint_every or training.evaluate_every))
        return found if found.evaluation or found.checkpoint or due(training.log_every) else None


def _report(worker: Worker, done: int, alphas: dict[str, float], seen: _Seen, due: _Due) -> None:
    """Evaluate, save and report after `done` steps."""
    rate = learning_rate(worker.settings, done - 1, worker.training.steps)
    report = replace(seen.take(done), alpha=alphas, learning_rate=rate)
    if due.evaluation:
        report = worker.last_evaluation = _evaluated(worker, report)
    worker.report(report, due.checkpoint)


def _evaluated(worker: Worker, report: Report) -> Report:
    whole = report.step in (0, worker.training.steps)
    evaluation = worker.experiment.evaluation
    what = f"decoding {evaluation.batch_size} utterances of dev at once (encoder context: {evaluation.encoder_context})"
    with explained(what, "Lower evaluation.batch_size"):
        return worker.dev.evaluate(worker.model, report, worker.folder, whole=whole)


@dataclass
class _Seen:
    """Token losses, utterances, loss ratios and skipped updates since the last report, over all ranks."""

    scaler: torch.amp.GradScaler | None
    losses: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    utterances: dict[str, int] = field(default_factory=dict)
    ratios: list[float | None] = field(default_factory=list)
    skipped: int = 0

    def add(self, done: int, batch: StepBatch, unread: Unread, norm: Tensor) -> None:
        """Read what the step came to that made `done` of them.

        Raises:
            NotFiniteError: with the step and its utterances.
        """
        try:
            result = unread.read(norm)
        except NotFiniteError as error:
            raise NotFiniteError(f"step {done}: {error}; utterances: {', '.join(batch.ids)}") from error
        for language, tokens in batch.tokens.items():
            self.losses[language] = self.losses.get(language, 0.0) + result.losses[language]
            self.tokens[language] = self.tokens.get(language, 0) + tokens
        for language, count in batch.utterances.items():
            self.utterances[language] = self.utterances.get(language, 0) + count
        self.ratios.append(result.ratio)
        self.skipped += not result.updated

    def take(self, step: int) -> Report:
        """Return the means and sums since the last report, and what the scaler did; start again."""
        loss = {name: self.losses[name] / tokens for name, tokens in self.tokens.items() if tokens}
        counts = {name: float(count) for name, count in self.utterances.items()}
        report = Report(step, loss=loss, utterances_seen=counts, ratios=tuple(self.ratios))
        if self.scaler:
            report = replace(report, skipped_steps=self.skipped, loss_scale=self.scaler.get_scale())
        self.losses, self.tokens, self.utterances, self.ratios, self.skipped = {}, {}, {}, [], 0
        return report
