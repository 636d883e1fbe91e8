"""One optimizer step on a global batch: forward, weights, backward, update. Pure torch; ranks through `distributed`."""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from raywce.data.loader import MicroBatch, StepBatch
from raywce.loss import utterance_weights, weighted_loss
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
    """

    losses: dict[str, float]
    alphas: dict[str, float]
    ratio: float | None


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

    def gradients(self, batch: StepBatch, step: int) -> StepResult:
        """Add the gradients of the global batch to the parameters, after `step` completed steps.

        A dynamic weight needs the losses of the whole global batch first: where there are several micro-batches, they
        are computed in a pass without gradients, with the same dropout.

        Raises:
            NotFiniteError: on all ranks alike.
        """
        with products(self.precision):  # those of the backward pass too
            return self._gradients(batch, step)

    def _gradients(self, batch: StepBatch, step: int) -> StepResult:
        ahead = None
        if self._adaptive and len(batch.micro_batches) > 1:
            ahead = self._over_ranks(self._forward_only(batch, step))
        local = self._zeros()
        for turn, micro_batch in enumerate(batch.micro_batches):
            last = turn == len(batch.micro_batches) - 1
            with contextlib.nullcontext() if last or not self._distributed else self.model.no_sync():
                losses = self._losses(micro_batch, batch.frames, step, turn)
                local += self._by_language(micro_batch, losses)
                if self._adaptive and ahead is None:
                    ahead = self._over_ranks(local)
                parts = self._parts(batch.tokens, ahead) if ahead else None
                alphas = alphas_in_force(self.schedules, step, self.steps, parts)
                weights = utterance_weights(micro_batch.languages, alphas, self.scope, batch.utterances, self._adaptive)
                loss: Any = weighted_loss(losses, weights, sum(batch.tokens.values()), self._ranks)
                (self.scaler.scale(loss) if self.scaler else loss).backward()
        sums = ahead or self._over_ranks(local)
        if not all(map(math.isfinite, sums.values())):
            raise NotFiniteError(f"the loss must be finite, but got {sums}")
        return StepResult(sums, alphas, self._parts(batch.tokens, sums).ratio)

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
        labels = micro_batch.labels.to(self._device, non_blocking=True)
        states = micro_batch.states
        with torch.no_grad():
            if states is None:
                heard = self._features(micro_batch, frames)
            else:
                heard = states.to(self._device, non_blocking=True).to(next(self.model.parameters()).dtype)
        with computing(self.precision, self._device):
            losses: Tensor = self.model(heard, labels, encoded=states is not None)
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

    def _over_ranks(self, sums: Tensor) -> dict[str, float]:
        """Return each language's sum over all ranks."""
        total = sums.clone()
        if self._distributed:
            distributed.all_reduce(total)
        return dict(zip(self.languages, total.tolist(), strict=True))

    def _parts(self, tokens: Mapping[str, int], losses: Mapping[str, float]) -> LossSums:
        """Return the sums of the low- and of the high-resource languages."""
        low = [language for language in self.languages if language in self.schedules]
        high = [language for language in self.languages if language not in self.schedules]
        return LossSums(
            low_loss=sum(losses[name] for name in low),
            low_tokens=sum(tokens[name] for name in low),
            high_loss=sum(losses[name] for name in high),
            high_tokens=sum(tokens[name] for name in high),
        )


def update(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    max_gradient_norm: float | None,
    scaler: torch.amp.GradScaler | None = None,
) -> bool:
    """Clip, update, and clear the gradients.

    Returns:
        Whether the weights were updated. With a scaler, gradients overflow now and then: it leaves the update out and
        lowers its scale.

    Raises:
        NotFiniteError: the gradient's norm is not finite, without a scaler.
    """
    scale = scaler.get_scale() if scaler else 0.0
    if scaler:
        scaler.unscale_(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(
        model.parameters(), math.inf if max_gradient_norm is None else max_gradient_norm
    )
    if scaler:
        scaler.step(optimizer)
        scaler.update()
    elif not torch.isfinite(norm):
        raise NotFiniteError(f"the gradient's norm must be finite, but got {norm.item()}")
    else:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return not scaler or scaler.get_scale() >= scale
