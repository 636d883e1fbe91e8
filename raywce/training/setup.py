"""Set-up of a Ray Train worker, built once for a trial: model, optimizer, data, and its way to report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from torch.nn.parallel import DistributedDataParallel

from raywce.cluster.gpu import limit_memory
from raywce.data.context import ContextLength, EncoderContext
from raywce.data.features import LogMel
from raywce.data.labels import LabelEncoder
from raywce.data.loader import Corpus, Loader, StepBatch
from raywce.data.sampler import BatchSampler
from raywce.data.schema import SAMPLE_RATE
from raywce.data.store import Utterances, label_lengths, open_split
from raywce.errors import InputError
from raywce.experiment.disk import states_bytes
from raywce.experiment.schema import Experiment
from raywce.language_tokens import with_tokens
from raywce.lora import LoraSettings, add_adapter
from raywce.model import UtteranceLosses, load_model, load_tokenizer
from raywce.precision import resolved, shortcoming
from raywce.storage.node_copy import on_node
from raywce.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from raywce.training.dev import DevSet
from raywce.training.draws import copies_of, draws
from raywce.training.encoder_states import EncoderStates, fingerprint, fits, has_dropout
from raywce.training.memory import explained
from raywce.training.optimizer import OptimizerSettings, make_optimizer
from raywce.training.session import Session
from raywce.training.step import NotFiniteError, Stepper
from raywce.trial_report import Report

if TYPE_CHECKING:
    from raywce.augmentation.augmenter import Augmenter

_LESS = (
    "Lower training.batch_size, raise training.accumulation_steps, or set training.encoder_context: batch or "
    "model.gradient_checkpointing: true"
)


def work(config: Mapping[str, object], session: Session, do: Callable[[Worker], object]) -> None:
    """Set this worker's process up and call `do`; a problem of any rank ends the trial on all of them.

    Args:
        config: the `experiment`, as plain values, and the trial's `folder`, a path or URI for its tables.
        session: of this worker.
        do: called once model and data are open.

    Raises:
        OutOfMemory: of this rank alone, while the others may wait for it.
    """
    experiment = Experiment.model_validate(config["experiment"])
    logging.getLogger("ray.train").setLevel(logging.WARNING)  # it prints each report in full, from each worker
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(experiment.resources.threads_per_worker)
    limit_memory(experiment.resources.gpus_per_worker)
    run, problem = None, ""
    try:
        with explained("opening the model and the data", f"{_LESS}, or take a smaller model"):
            run = Worker(experiment, str(config["folder"]), session)
    except InputError as error:
        problem = "; ".join(map(str, error.problems))
    session.wait_for_all()
    problem = on_any_rank(problem)
    if run and not problem:
        problem = _unequal(experiment, run.device)
    try:
        if run and not problem:
            with explained("the training", _LESS):
                do(run)
    except NotFiniteError as error:
        problem = str(error)
    if problem:
        # All ranks come here together, and another attempt would end the same way.
        session.report(Report(failure=problem))


def on_any_rank(problem: str) -> str:
    """Return the first problem of any rank, on all of them."""
    return next(filter(None, on_all_ranks(problem)), "")


def on_all_ranks(own: str) -> list[str]:
    """Return the text of each rank, on all of them."""
    if not torch.distributed.is_initialized():
        return [own]
    texts = [""] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(texts, own)
    return texts


def _unequal(experiment: Experiment, device: torch.device) -> str:
    """Return, on all ranks, that `auto` is not the same precision on each; empty where it is, or isn't asked for."""
    asked = {"training": experiment.training.precision, "evaluation": experiment.decode_settings.precision}
    keys = [f"{section}.precision" for section, precision in asked.items() if precision == "auto"]
    found = on_all_ranks(resolved("auto", device)) if keys else []
    if len(set(found)) < 2:
        return ""
    got = ", ".join(f"{precision} on rank {rank}" for rank, precision in enumerate(found))
    return (
        f"{keys[0]}: auto must be the same on all of a trial's workers; got {got}. Name one: bf16, fp16, tf32 or fp32"
    )


class Worker:
    """One worker's part in a trial, ready to train.

    Attributes:
        first_step: completed steps of the checkpoint that it resumes from; 0 without one.
        last_evaluation: the report of the last evaluation, of that checkpoint's training too.
    """

    def __init__(self, experiment: Experiment, folder: str, session: Session) -> None:
        self.session = session
        self.rank, self.workers, self.device = session.rank, session.workers, session.device
        self.experiment, self.training = experiment, experiment.training
        self.folder = folder
        self.started = time.monotonic()
        self.seconds_before = 0.0
        self.first_step = 0
        self.last_evaluation = Report()
        self.precision = resolved(self.training.precision, self.device)
        lacks = shortcoming(self.precision, self.device)
        self.warnings = [lacks] if lacks else []
        self._open_model()
        self._open_data()
        self.augmenter: Augmenter | None = None
        if experiment.augmentation.active:
            from raywce.training.augmentation import make_augmenter

            self.augmenter = make_augmenter(experiment, self.log_mel)

    def _open_model(self) -> None:
        model, cache = self.experiment.model, Path(self.experiment.data.cache).expanduser()
        new = self.experiment.languages.new_tokens
        self.checkpoint = with_tokens(model.checkpoint, model.revision, new, cache)
        self.model = load_model(
            self.checkpoint,
            model.revision,
            freeze_encoder=model.freeze_encoder,
            gradient_checkpointing=model.gradient_checkpointing,
        )
        if model.lora.rank:
            add_adapter(self.model, LoraSettings(**model.lora.model_dump()), self.training.seed)
        self.settings = OptimizerSettings(**self.training.optimizer.model_dump())
        self.tokenizer = load_tokenizer(self.checkpoint, model.revision)
        self.log_mel = LogMel.from_checkpoint(self.checkpoint, model.revision).to(self.device)
        self.scaler = torch.amp.GradScaler(self.device.type) if self.precision == "fp16" else None
        with self.session.checkpoint() as saved:
            if saved is None:
                self.model.to(self.device)
                self.optimizer = make_optimizer(self.model, self.settings)
            else:
                folder, name = saved
                self._resume(folder, f"{self.folder}/{name}")

    def _resume(self, folder: Path, place: str) -> None:
        state = load_checkpoint(self.model, folder, place)
        self.model.to(self.device)
        self.optimizer = make_optimizer(self.model, self.settings)
        self.optimizer.load_state_dict(state.optimizer)
        if self.scaler and state.scaler:
            self.scaler.load_state_dict(state.scaler)
        self.first_step, self.seconds_before = state.step, state.seconds
        self.last_evaluation = Report.of(state.report)

    def wrapped(self) -> torch.nn.Module:
        """Return the model as it is trained: its losses, in DDP where there are several workers."""
        losses = UtteranceLosses(self.model)
        if self.workers == 1:
            return losses
        device_ids = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(losses, device_ids=device_ids, gradient_as_bucket_view=True)

    def _open_data(self) -> None:
        data, languages = self.experiment.data, self.experiment.languages
        cache = Path(data.cache).expanduser()
        folder = on_node(data.folder, cache, languages.parts)
        utterances = open_split(folder, "train", languages.all, cache)
        tokens = {language: languages.token_of(language) for language in languages.all}
        encoder = LabelEncoder.of(self.model, self.tokenizer, tokens)
        lengths, timed = label_lengths(utterances, encoder, cache), data.timestamps > 0
        self.corpus = Corpus(utterances, encoder, lengths, timed=timed)
        training = self.training
        self.context = EncoderContext.of(self.log_mel, training.encoder_context, training.context_margin)
        self.pools = self.corpus.pools(languages.all, self.context.longest)
        self.left_out = self.corpus.left_out(languages.all, self.context.longest)
        dev = open_split(folder, "dev", languages.decoded, cache)
        dev.check_window(self.log_mel.n_samples / SAMPLE_RATE, "dev")
        decoding = self.experiment.decode_settings
        own = self._states(dev, decoding.encoder_context, decoding.context_margin, decoding.precision)
        self.dev = DevSet(dev, self.experiment, self.tokenizer, self.log_mel, self.rank, self.workers, own)
        if not (self.experiment.augmentation.active or has_dropout(self.model)):
            own = self._states(utterances, training.encoder_context, training.context_margin, self.precision)
            self.corpus = replace(self.corpus, states=own)

    def _states(
        self, utterances: Utterances, context: ContextLength, margin: float, precision: str
    ) -> EncoderStates | None:
        """Return the kept encoder states of a split; None where the encoder is trained, or the disk has no room."""
        cache = Path(self.experiment.data.cache).expanduser()
        if not self.experiment.model.freeze_encoder:
            return None
        encoder, precision = self.model.get_encoder(), resolved(precision, self.device)
        states = EncoderStates.of(encoder, self._encoder_key, utterances, self.log_mel, precision, cache)
        window = self.log_mel.n_samples / SAMPLE_RATE
        needed = states_bytes(utterances.durations, context, margin, self.model.config.d_model, window)
        needed -= states.on_disk  # of earlier trainings, which have taken their room already
        if not fits(needed, cache):
            self.warnings.append(f"no room in {cache} for {needed / 1e9:.1f} GB of encoder states: they are not kept")
            return None
        return states

    @cached_property
    def _encoder_key(self) -> str:
        return fingerprint(self.model.get_encoder())

    def loader_of(self, batch_size: int, accumulation_steps: int) -> Loader:
        """Return this worker's step batches, for a global batch size and a number of accumulation steps."""
        experiment, sampling, resources = self.experiment, self.experiment.data.sampling, self.experiment.resources
        counts = {name: len(pool) for name, pool in self.pools.items()}
        sampler = BatchSampler(
            self.pools,
            self.corpus.utterances.durations,
            draws(experiment, counts),
            batch_size=batch_size,
            steps=self.training.steps,
            seed=self.training.seed,
            duration_window=sampling.duration_window,
            copies=copies_of(experiment),
            timed=experiment.data.timestamps,
        )
        return Loader(
            self.corpus,
            sampler,
            self.rank,
            self.workers,
            accumulation_steps,
            threads=resources.loader_threads,
            prefetch=resources.prefetch,
            context=self.context,
            slowest=experiment.slowest,
            pinned=self.device.type == "cuda",
        )

    def stepper(self, model: torch.nn.Module) -> Stepper:
        """Return what computes the gradients of a model with its losses."""
        return Stepper(
            model=model,
            log_mel=self.log_mel,
            schedules=self.experiment.schedules(),
            languages=self.experiment.languages.all,
            steps=self.training.steps,
            scope=self.experiment.weighting.scope,
            precision=self.precision,
            seed=self.training.seed,
            scaler=self.scaler,
            augmenter=self.augmenter,
        )

    def memory_of(self, batch: StepBatch) -> tuple[str, str]:
        """Return what takes a step's memory, and what to lower where there is too little."""
        frames = self.log_mel.n_frames if batch.frames is None else batch.frames
        seconds = frames * self.log_mel.hop_length / SAMPLE_RATE
        most = max(map(len, batch.micro_batches))
        return f"a step with {most} utterances at once and an encoder context of {seconds:g} s", _LESS

    def report(self, report: Report, save: bool = False) -> None:
        """Give a report to the controller, with a checkpoint where asked for; each rank calls it."""
        seconds = self.seconds_before + time.monotonic() - self.started
        given = replace(
            report,
            final=report.step == self.training.steps,
            time_s=seconds,
            precision=self.precision,
            warning="; ".join(self.warnings) or None,
            left_out=self.left_out["left_out"],
            beyond_context=self.left_out["beyond_context"],
        )

        def write(folder: Path) -> None:
            scaler = self.scaler.state_dict() if self.scaler else None
            state = TrainingState(
                report.step, self.optimizer.state_dict(), scaler, seconds, self.last_evaluation.flat()
            )
            save_checkpoint(folder, self.model, state, self.checkpoint, self.experiment.model.revision)

        self.session.report(given, write if save else None)
