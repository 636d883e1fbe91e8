"""What each Ray Train worker runs: one trial's fine-tuning, with evaluations, checkpoints and reports."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.train
import ray.train.torch
import torch
import transformers
from torch.nn.parallel import DistributedDataParallel

from raywce.data.context import EncoderContext
from raywce.data.features import LogMel
from raywce.data.labels import LabelEncoder
from raywce.data.loader import Corpus, Loader, StepBatch
from raywce.data.sampler import BatchSampler, language_shares, with_both_kinds, with_copies
from raywce.data.store import label_lengths, open_split
from raywce.errors import InputError
from raywce.experiment.schema import Experiment
from raywce.model import UtteranceLosses, load_model, load_tokenizer
from raywce.remote import on_node
from raywce.run_folder import checkpoint_name
from raywce.training.checkpoint import TrainingState, load_state, load_weights, save_checkpoint
from raywce.training.evaluation import DevSet
from raywce.training.optimizer import OptimizerSettings, learning_rate, make_optimizer, set_learning_rate
from raywce.training.step import NotFiniteError, Stepper, StepResult, update
from raywce.training.trial import FAILURE

if TYPE_CHECKING:
    from raywce.augmentation.augmenter import Augmenter


def train_worker(config: Mapping[str, Any]) -> None:
    """Ray Train's entry point: the whole training; `config` as in `work`."""
    work(config, WorkerRun.train)


def work(config: Mapping[str, Any], do: Callable[[WorkerRun], object]) -> None:
    """Set this worker's process up, and do it; a problem of any rank ends the trial on all of them.

    Args:
        config: the `experiment`, as plain values, and the trial's `folder`, a path or URI for its tables.
        do: what, once model and data are open.
    """
    experiment = Experiment.model_validate(config["experiment"])
    logging.getLogger("ray.train").setLevel(logging.WARNING)  # it prints each report in full, from each worker
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(experiment.resources.threads_per_worker)
    run, problem = None, ""
    try:
        run = WorkerRun(experiment, config["folder"])
    except InputError as error:
        problem = "; ".join(map(str, error.problems))
    problem = on_any_rank(problem)
    try:
        if run and not problem:
            do(run)
    except NotFiniteError as error:
        problem = str(error)
    if problem:
        # All ranks come here together, and another attempt would end the same way.
        ray.train.report({FAILURE: problem})


def on_any_rank(problem: str) -> str:
    """The first problem of any rank, on all of them."""
    problems: list[str] = [problem]
    if torch.distributed.is_initialized():
        problems = [""] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(problems, problem)
    return next(filter(None, problems), "")


@dataclass
class _Seen:
    """Token losses and utterances since the last report, over all ranks."""

    losses: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    utterances: dict[str, int] = field(default_factory=dict)

    def add(self, batch: StepBatch, result: StepResult) -> None:
        for language, tokens in batch.tokens.items():
            self.losses[language] = self.losses.get(language, 0.0) + result.losses[language]
            self.tokens[language] = self.tokens.get(language, 0) + tokens
        for language, count in batch.utterances.items():
            self.utterances[language] = self.utterances.get(language, 0) + count

    def take(self) -> dict[str, float]:
        """Mean token loss of each language that was seen, and how many utterances of each were; starts anew."""
        means = {f"loss/{name}": self.losses[name] / tokens for name, tokens in self.tokens.items() if tokens}
        counts = {f"utterances_seen/{name}": float(count) for name, count in self.utterances.items()}
        self.losses, self.tokens, self.utterances = {}, {}, {}
        return means | counts


class WorkerRun:
    """One worker's part in a trial.

    Attributes:
        loader_of: this worker's step batches, for a global batch size and a number of accumulation steps.
    """

    def __init__(self, experiment: Experiment, folder: str) -> None:
        context = ray.train.get_context()
        self.rank, self.workers = context.get_world_rank(), context.get_world_size()
        self.experiment, self.training = experiment, experiment.training
        self.folder = folder
        self.device = ray.train.torch.get_device()
        self.started = time.monotonic()
        self.seconds_before = 0.0
        self.first_step = 0
        self.last_evaluation: dict[str, Any] = {}
        self._open_model()
        self._open_data()
        self.augmenter = self._augmenter()

    def _open_model(self) -> None:
        model = self.experiment.model
        self.model = load_model(
            model.checkpoint,
            model.revision,
            freeze_encoder=model.freeze_encoder,
            gradient_checkpointing=model.gradient_checkpointing,
        )
        self.settings = OptimizerSettings(**self.training.optimizer.model_dump())
        self.tokenizer = load_tokenizer(model.checkpoint, model.revision)
        self.log_mel = LogMel.from_checkpoint(model.checkpoint, model.revision).to(self.device)
        self.scaler = torch.amp.GradScaler(self.device.type) if self.training.precision == "fp16" else None
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            self.model.to(self.device)
            self.optimizer = make_optimizer(self.model, self.settings)
        else:
            with checkpoint.as_directory() as saved:
                self._resume(Path(saved))

    def _resume(self, folder: Path) -> None:
        state = load_state(folder)
        load_weights(self.model, folder)
        self.model.to(self.device)
        self.optimizer = make_optimizer(self.model, self.settings)
        self.optimizer.load_state_dict(state.optimizer)
        if self.scaler and state.scaler:
            self.scaler.load_state_dict(state.scaler)
        self.first_step, self.seconds_before, self.last_evaluation = state.step, state.seconds, state.report

    def wrapped(self) -> Any:
        """The model as it is trained: its losses, in DDP where there are several workers."""
        losses = UtteranceLosses(self.model)
        if self.workers == 1:
            return losses
        device_ids = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(losses, device_ids=device_ids, gradient_as_bucket_view=True)

    def _open_data(self) -> None:
        data, languages = self.experiment.data, self.experiment.languages
        cache = Path(data.cache).expanduser()
        parts = [f"{split}/{language}" for split in ("train", "dev") for language in languages.all]
        folder = on_node(data.folder, cache, parts)
        utterances = open_split(folder, "train", languages.all, cache)
        tokens = {language: languages.token_of(language) for language in languages.all}
        encoder = LabelEncoder.of(self.model, self.tokenizer, tokens)
        corpus = Corpus(utterances, encoder, label_lengths(utterances, encoder, cache))
        context = self._context()
        pools = corpus.pools(languages.all, context.longest)
        left_out = corpus.left_out(languages.all, context.longest)
        self.left_out = {f"{key}/{name}": count for key, own in left_out.items() for name, count in own.items()}
        counts = {name: len(pool) for name, pool in pools.items()}
        augmentation = self.experiment.augmentation
        copies = dict.fromkeys(self.experiment.augmented_languages, augmentation.copies)
        counts = with_copies(counts, copies)
        shares = language_shares(counts, data.sampling.temperature, data.sampling.shares)
        if data.sampling.both_kinds is True:
            shares = with_both_kinds(shares, set(languages.low_resource), self.training.batch_size)
        resources = self.experiment.resources

        def loader(batch_size: int, accumulation_steps: int) -> Loader:
            sampler = BatchSampler(
                pools,
                utterances.durations,
                shares,
                batch_size=batch_size,
                steps=self.training.steps,
                seed=self.training.seed,
                duration_window=data.sampling.duration_window,
                copies=copies,
            )
            return Loader(
                corpus,
                sampler,
                self.rank,
                self.workers,
                accumulation_steps,
                threads=resources.loader_threads,
                prefetch=resources.prefetch,
                context=context,
                slowest=self.experiment.slowest,
            )

        self.loader_of = loader
        dev = open_split(folder, "dev", languages.all, cache)
        self.dev = DevSet(dev, self.experiment, self.tokenizer, self.log_mel, self.rank, self.workers)

    def _context(self) -> EncoderContext:
        training = self.training
        return EncoderContext.of(
            self.log_mel,
            training.encoder_context,
            margin=training.context_margin,
            bucket=training.context_bucket,
            jitter=training.context_jitter,
            full_share=training.full_context_share,
            seed=training.seed,
        )

    def train(self) -> None:
        """From the checkpoint's step, or the first one, to the last."""
        steps = self.training.steps
        if self.first_step == 0 and self.training.evaluate_at_start:
            self.report(0, self._evaluate(0))
        if self.first_step == steps:  # cut off after its last checkpoint: only the report may be missing
            self.report(steps, self.last_evaluation)
            return
        stepper = self.stepper(self.wrapped())
        loader = self.loader_of(self.training.batch_size, self.training.accumulation_steps)
        seen = _Seen()
        for step, batch in enumerate(loader.batches(self.first_step), start=self.first_step):
            set_learning_rate(self.optimizer, learning_rate(self.settings, step, steps))
            try:
                result = stepper.gradients(batch, step)
                update(self.model, self.optimizer, self.settings.max_gradient_norm, self.scaler)
            except NotFiniteError as error:
                raise NotFiniteError(f"step {step + 1}: {error}; utterances: {', '.join(batch.ids)}") from error
            seen.add(batch, result)
            self._after(step + 1, result, seen)

    def stepper(self, model: Any) -> Stepper:
        """What computes the gradients of a model with its losses."""
        return Stepper(
            model=model,
            log_mel=self.log_mel,
            schedules=self.experiment.schedules(),
            languages=self.experiment.languages.all,
            steps=self.training.steps,
            scope=self.experiment.weighting.scope,
            precision=self.training.precision,
            seed=self.training.seed,
            scaler=self.scaler,
            augmenter=self.augmenter,
        )

    def _augmenter(self) -> Augmenter | None:
        if not self.experiment.augmentation.active:
            return None
        from raywce.training.augmentation import make_augmenter

        return make_augmenter(self.experiment, self.log_mel)

    def _after(self, done: int, result: StepResult, seen: _Seen) -> None:
        """Evaluate, save and report what is due after `done` steps."""
        last = done == self.training.steps
        evaluate = last or _due(done, self.training.evaluate_every)
        save = last or _due(done, self.training.checkpoint_every or self.training.evaluate_every)
        if not (evaluate or save or _due(done, self.training.log_every)):
            return
        metrics: dict[str, Any] = seen.take()
        metrics |= {f"alpha/{language}": alpha for language, alpha in result.alphas.items()}
        metrics["learning_rate"] = learning_rate(self.settings, done - 1, self.training.steps)
        if evaluate:
            metrics |= self._evaluate(done)
            self.last_evaluation = metrics
        self.report(done, metrics, save)

    def _evaluate(self, step: int) -> dict[str, Any]:
        return self.dev.evaluate(self.model, step, self.folder, whole=step in (0, self.training.steps))

    def report(self, step: int, metrics: dict[str, Any], save: bool = False) -> None:
        """To the controller, with a checkpoint where asked for; each rank calls it."""
        seconds = self.seconds_before + time.monotonic() - self.started
        report = {
            **metrics,
            "step": step,
            "final": step == self.training.steps,
            "time_s": seconds,
            **self.left_out,
            "placement_group_id": _placement_group_id(),
        }
        if not (save and self.rank == 0):
            ray.train.report(report, checkpoint_dir_name=checkpoint_name(step) if save else None)
            return
        scaler = self.scaler.state_dict() if self.scaler else None
        state = TrainingState(step, self.optimizer.state_dict(), scaler, seconds, self.last_evaluation)
        with tempfile.TemporaryDirectory() as temporary:
            model = self.experiment.model
            save_checkpoint(Path(temporary), self.model, state, model.checkpoint, model.revision)
            checkpoint = ray.train.Checkpoint.from_directory(temporary)
            ray.train.report(report, checkpoint=checkpoint, checkpoint_dir_name=checkpoint_name(step))


def _due(done: int, every: int | None) -> bool:
    return every is not None and done % every == 0


def _placement_group_id() -> str:
    group = ray.util.get_current_placement_group()
    return group.id.hex() if group else ""
