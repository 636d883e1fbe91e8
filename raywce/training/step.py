"""One optimizer step on a global batch: forward, weights, backward, update. Pure torch; ranks through `distributed`."""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from raywce.data.loader import MicroBatch, StepBatch
from raywce.loss import counted_positions, utterance_weights, weighted_loss
from raywce.precision import computing, products
from raywce.weighting import AlphaSchedule, LossSums, alphas_in_force

if TYPE_CHECKING:  # a training without augmentation starts sooner without torch-audiomentations
    from raywce.augmentation.augmenter import Augmenter


class NotFiniteError(Exception):
    """Error of a loss or gradient that is not a finite number: the training can't continue."""


@dataclass(frozen=True)
class StepResult:
    """Figures of a step, over the whole global batch.

    Attributes:
        losses: unweighted token losses of each language, summed.
        alphas: the weight that was in force for each low-resource language.
        ratio: mean token loss of the low-resource languages over that of the others; None where the batch lacks a side.
        updated: whether the weights were; with a scaler, gradients overflow now and then.
    """

    losses: dict[str, float]
    alphas: dict[str, float]
    ratio: float | None
    updated: bool


@dataclass(frozen=True)
class Unread:
    """What a step came to, where it was computed: whoever reads it waits for the device.

    Attributes:
        stepper: that took the step.
        tokens: as of its `StepBatch`.
        sums: (languages,) float64 unweighted token losses over all ranks.
        alphas: as of `StepResult`.
    """

    stepper: Stepper
    tokens: Mapping[str, int]
    sums: Tensor
    alphas: dict[str, float]

    def read(self, norm: Tensor | None = None) -> StepResult:
        """Return the figures, by one read.

        Args:
            norm: of the gradient, as of `update`; None: it is not known yet.

        Raises:
            NotFiniteError: the loss is not finite, or without a scaler the norm; on all ranks alike.
        """
        parts = [self.sums] if norm is None else [self.sums, norm.double()[None]]
        values: list[float] = torch.cat(parts).tolist()
        losses = self.stepper.by_name(values)
        if not all(map(math.isfinite, losses.values())):
            raise NotFiniteError(f"the loss must be finite, but got {losses}")
        updated = norm is None or math.isfinite(values[-1])
        if not updated and not self.stepper.scaler:
            raise NotFiniteError(f"the gradient's norm must be finite, but got {values[-1]}")
        return StepResult(losses, self.alphas, self.stepper.parts(self.tokens, losses).ratio, updated)


@dataclass(frozen=True)
class Stepper:
    """Computes gradients; the same for any number of ranks and any split into micro-batches.

    Attributes:
        model: Whisper as `UtteranceLosses`, bare or wrapped in DDP.
        log_mel: (B, T) audio and a number of frames → features.
        schedules: alpha schedule of each low-resource language.
        languages: all languages, in the order in which ranks exchange their sums.
        steps: optimizer steps of the training.
        scope: `utterance` or `batch`.
        precision: `fp32`, `tf32`, `bf16` or `fp16`.
        seed: of dropout.
        scaler: of the loss, for fp16.
        augmenter: what augmented copies go through; None: no augmentation.
    """

    model: Any
    log_mel: Callable[[Tensor, int | None], Tensor]
    schedules: Mapping[str, AlphaSchedule]
    languages: list[str]
    steps: int
    scope: str = "utterance"
    precision: str = "fp32"
    seed: int = 0
    scaler: torch.amp.GradScaler | None = None
    augmenter: Augmenter | None = None

    def gradients(self, batch: StepBatch, step: int) -> Unread:
        """Add the gradients of the global batch to the parameters, after `step` completed steps.

        A dynamic weight needs the losses of the whole global batch first, and the host waits for them: where there are
        several micro-batches, they are computed in a pass without gradients, with the same dropout.
        """
        with products(self.precision):  # those of the backward pass too
            return self._gradients(batch, step)

    def by_name(self, sums: Sequence[float]) -> dict[str, float]:
        """Return sums by language; what stands behind them is left out."""
        return dict(zip(self.languages, sums, strict=False))

    def parts(self, tokens: Mapping[str, int], losses: Mapping[str, float]) -> LossSums:
        """Return the sums of the low- and of the high-resource languages."""
        low = [language for language in self.languages if language in self.schedules]
        high = [language for language in self.languages if language not in self.schedules]
        return LossSums(
            low_loss=sum(losses[name] for name in low),
            low_tokens=sum(tokens[name] for name in low),
            high_loss=sum(losses[name] for name in high),
            high_tokens=sum(tokens[name] for name in high),
        )

    def _gradients(self, batch: StepBatch, step: int) -> Unread:
        ahead = parts = None
        if self._adaptive and len(batch.micro_batches) > 1:
            ahead, parts = self._exchanged(batch, self._forward_only(batch, step))
        local = self._zeros()
        for turn, micro_batch in enumerate(batch.micro_batches):
            last = turn == len(batch.micro_batches) - 1
            with contextlib.nullcontext() if last or not self._distributed else self.model.no_sync():
                losses = self._losses(micro_batch, batch.frames, step, turn)
                local += self._by_language(micro_batch, losses)
                if self._adaptive and ahead is None:
                    ahead, parts = self._exchanged(batch, local)
                alphas = alphas_in_force(self.schedules, step, self.steps, parts)
                weights = utterance_weights(micro_batch.languages, alphas, self.scope, batch.utterances, self._adaptive)
                loss: Any = weighted_loss(losses, weights, sum(batch.tokens.values()), self._ranks)
                (self.scaler.scale(loss) if self.scaler else loss).backward()
        return Unread(self, batch.tokens, self._over_ranks(local) if ahead is None else ahead, alphas)

    @property
    def _adaptive(self) -> bool:
        return any(schedule.adaptive for schedule in self.schedules.values())

    @property
    def _distributed(self) -> bool:
        return isinstance(self.model, DistributedDataParallel)

    @property
    def _ranks(self) -> int:
        return distributed.get_world_size() if self._distributed else 1

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    def _losses(self, micro_batch: MicroBatch, frames: int | None, step: int, turn: int) -> Tensor:
        """Return (B,) summed token losses."""
        rank = distributed.get_rank() if self._distributed else 0
        # Dropout follows from the step alone, so that a resumed run draws the same.
        torch.manual_seed(zlib.crc32(f"{self.seed} {step} {turn} {rank}".encode()))
        counted = counted_positions(micro_batch.labels).to(self._device, non_blocking=True)
        labels = micro_batch.labels.to(self._device, non_blocking=True)
        states = micro_batch.states
        with torch.no_grad():
            if states is None:
                heard = self._features(micro_batch, frames)
            else:
                heard = states.to(self._device, non_blocking=True).to(next(self.model.parameters()).dtype)
        with computing(self.precision, self._device):
            losses: Tensor = self.model(heard, labels, counted, encoded=states is not None)
        return losses

    def _features(self, micro_batch: MicroBatch, frames: int | None) -> Tensor:
        waveforms = micro_batch.waveforms.to(self._device, non_blocking=True)

        def log_mel(audio: Tensor) -> Tensor:
            return self.log_mel(audio, frames)

        if self.augmenter is None:
            return log_mel(waveforms)
        keys = self.augmenter.keys(micro_batch.epochs, micro_batch.copies, micro_batch.ids)
        return self.augmenter.features(waveforms, micro_batch.samples, keys, log_mel)

    def _forward_only(self, batch: StepBatch, step: int) -> Tensor:
        with torch.no_grad():
            sums = self._zeros()
            for turn, micro_batch in enumerate(batch.micro_batches):
                sums += self._by_language(micro_batch, self._losses(micro_batch, batch.frames, step, turn))
        return sums

    def _zeros(self) -> Tensor:
        return torch.zeros(len(self.languages), dtype=torch.float64, device=self._device)

    def _by_language(self, micro_batch: MicroBatch, losses: Tensor) -> Tensor:
        """Return (languages,) float64 sums; on the device, so that nothing waits, and in a fixed order of addition."""
        member = [[float(name == language) for name in micro_batch.languages] for language in self.languages]
        return torch.tensor(member, dtype=torch.float64).to(self._device) @ losses.detach().double()

    def _exchanged(self, batch: StepBatch, sums: Tensor) -> tuple[Tensor, LossSums]:
        """Return each language's sum over all ranks, and what a dynamic weight needs of them, which is read."""
        total = self._over_ranks(sums)
        return total, self.parts(batch.tokens, self.by_name(total.tolist()))

    def _over_ranks(self, sums: Tensor) -> Tensor:
        """Return each language's sum over all ranks."""
        total = sums.clone()
        if self._distributed:
            distributed.all_reduce(total)
        return total


def update(
    model: torch.nn.Module,
    optimizer: torch.optim.AdamW,
    max_gradient_norm: float | None,
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """Clip, update, and clear the gradients; where they are not finite, only clear them. The host waits for nothing.

    With a scaler, gradients overflow now and then: it then lowers its scale.

    Args:
        model: whose gradients they are.
        optimizer: as of `make_optimizer`.
        max_gradient_norm: None: gradients are not clipped.
        scaler: of the loss, for fp16.

    Returns:
        The gradient's norm () before it was clipped, for `Unread.read`.
    """
    if scaler:
        scaler.unscale_(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(
        model.parameters(), math.inf if max_gradient_norm is None else max_gradient_norm
    )
    if scaler:
        scaler.step(optimizer)
        scaler.update()
    else:
        # What a GradScaler tells a fused optimizer: it looks on the device, and changes nothing where it is 1.
        optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
        optimizer.step()
        del optimizer.found_inf  # type: ignore[attr-defined]
    optimizer.zero_grad(set_to_none=True)
    return norm
