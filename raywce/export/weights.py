"""Weights of transformers folders, read and averaged one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from huggingface_hub import get_local_safetensors_metadata
from huggingface_hub.utils import SafetensorsRepoMetadata, TensorInfo  # type: ignore[attr-defined]
from safetensors import safe_open
from torch import Tensor


@dataclass(frozen=True)
class Model:
    """One of the models of an average.

    Attributes:
        place: as it was named on the command line.
        name: for the record: last parts of paths, as the rest is private to this machine.
        folder: the transformers folder, on this machine.
    """

    place: str
    name: str
    folder: Path

    @cached_property
    def metadata(self) -> SafetensorsRepoMetadata:
        """Names, shapes and files of the tensors."""
        return get_local_safetensors_metadata(self.folder)

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """Shape and type of each tensor."""
        return {name: info for file in self.metadata.files_metadata.values() for name, info in file.tensors.items()}

    def read(self, name: str) -> Tensor:
        """Read one tensor."""
        with safe_open(self.folder / self.metadata.weight_map[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor


def overwrite(folder: Path, models: Sequence[Model], shares: Sequence[float]) -> None:
    """Put the weighted mean in the place of each tensor of the first model, a copy of which the folder holds.

    It is taken in float32 or wider, and written as the first model has it.
    """
    for file, metadata in models[0].metadata.files_metadata.items():
        _overwrite(folder / file, metadata.tensors, models, shares)


def _overwrite(file: Path, tensors: Mapping[str, TensorInfo], models: Sequence[Model], shares: Sequence[float]) -> None:
    """Put averages in the place of the first model's tensors."""
    size = max(end for _, end in (info.data_offsets for info in tensors.values()))
    data = file.stat().st_size - size  # where the header ends
    with file.open("r+b") as stream:
        for name, info in tensors.items():
            mean = _mean((model.read(name) for model in models), shares)
            stream.seek(data + info.data_offsets[0])
            stream.write(mean.flatten().view(torch.uint8).numpy().data)


def _mean(tensors: Iterator[Tensor], shares: Sequence[float]) -> Tensor:
    """Return the weighted mean in the first one's type; of equal tensors it is the same."""
    mean = next(tensors)
    dtype, total = mean.dtype, shares[0]
    mean = mean.to(torch.promote_types(dtype, torch.float32), copy=True)
    for tensor, share in zip(tensors, shares[1:], strict=True):
        total += share
        mean.lerp_(tensor.to(mean.dtype), share / total)
    return mean.to(dtype)
