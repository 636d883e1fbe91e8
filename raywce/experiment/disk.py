"""The disk that a search will take, before it begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raywce.experiment.environment import is_hub_id
from raywce.experiment.schema import Confirm, Experiment, Model
from raywce.storage.files import is_uri
from raywce.storage.node_copy import read_columns, size_of
from raywce.whisper_folder import base_of, is_adapter

_ENCODER, _SINUSOIDS = "model.encoder.", "model.encoder.embed_positions.weight"  # the latter are never trained
_WEIGHT, _ADAMW = 4, 8  # bytes a parameter: float32, and AdamW's two moments of it
_STATE, _POSITIONS = 2, 50  # bytes of a number of kept encoder states, and positions a second
_MOST = 3  # checkpoints of a training: the best, the last, and the next one that is being written
_MOST_ALONE = 2  # of one with a single worker, which keeps no best one


@dataclass(frozen=True)
class Parameters:
    """Numbers of a model's parameters, and the width of its encoder.

    Attributes:
        total: those of the checkpoint, and of the largest adapter that is searched.
        saved: in a trial's checkpoint: all of them, or the adapter's.
        trained: all that are not frozen, or the adapter's.
        width: of the encoder.
    """

    total: int
    saved: int
    trained: int
    width: int = 0

    @property
    def memory(self) -> int:
        """Bytes of a worker's weights, gradients and optimizer, in float32; a step's activations come on top."""
        return _WEIGHT * (self.total + self.trained) + _ADAMW * self.trained


@dataclass(frozen=True)
class Disk:
    """Bytes that a search takes; tables and logs beside it are some megabytes.

    Attributes:
        finished: in the storage, of the models that stay.
        trial: in the storage, of a trial while it runs: its checkpoints with the optimizer's state.
        node: on each node: in its cache the speech, encoder states that are kept, and models that come from a URI to be
            evaluated; in its temporary folder a checkpoint of the trial that it saves or resumes.
    """

    finished: int
    trial: int
    node: int


def disk_of(experiment: Experiment, trials: int, parameters: Parameters, speech: int) -> Disk:
    """Return the estimate for all phases.

    Args:
        experiment: with the search's settings.
        trials: of the search phase.
        parameters: of the checkpoint.
        speech: bytes of a node's copies of the prepared speech (`speech_bytes`), and of what is kept of it
            (`kept_bytes`).
    """
    search, training = experiment.search, experiment.training
    model = _WEIGHT * parameters.saved
    checkpoint = model + _ADAMW * parameters.trained
    saved = math.ceil(training.steps / (training.checkpoint_every or training.evaluate_every or training.steps))
    models = search.baseline_seeds + min(search.keep_models, trials) + search.confirm.trainings
    return Disk(
        finished=models * model,
        trial=min(saved, _MOST_ALONE if experiment.resources.alone else _MOST) * checkpoint,
        node=speech + checkpoint + _evaluated(search.confirm, experiment.storage) * model,
    )


def _evaluated(confirm: Confirm, storage: str) -> int:
    """Count the models that a node may copy to evaluate them: the seeds of baseline and winner."""
    return confirm.of_baseline(confirm.seeds) + confirm.seeds if confirm.candidates and is_uri(storage) else 0


def speech_bytes(experiment: Experiment) -> int:
    """Return the size of a node's copies of the prepared speech: as Arrow, and as it is where it comes from a URI.

    It is train and dev of the experiment's languages, and with a confirm phase what its test splits hold.
    """
    confirm, data = experiment.search.confirm, experiment.data
    sizes = {data.folder: size_of(data.folder, experiment.languages.parts)}
    tests = [data.folder, *data.extra_test.values()] if confirm.candidates and confirm.test else []
    parts = [f"test/{language}" for language in experiment.languages.decoded]
    for folder in dict.fromkeys(tests):
        sizes[folder] = sizes.get(folder, 0) + size_of(folder, parts)
    return sum(size * (2 if is_uri(folder) else 1) for folder, size in sizes.items())


def kept_bytes(experiment: Experiment, width: int) -> int:
    """Return the size of the encoder states that a node keeps of train and dev; 0 where the encoder is trained."""
    if not experiment.model.freeze_encoder:
        return 0
    languages, training, evaluation = experiment.languages, experiment.training, experiment.evaluation
    of_split: dict[str, tuple[Sequence[str], str | float, float]] = {}
    of_split["dev"] = (languages.decoded, evaluation.encoder_context, evaluation.context_margin)
    if not experiment.augmentation.active:
        of_split["train"] = (languages.all, training.encoder_context, training.context_margin)
    return sum(
        states_bytes(_durations(experiment.data.folder, split, names), context, margin, width)
        for split, (names, context, margin) in of_split.items()
    )


def _durations(folder: str, split: str, languages: Sequence[str]) -> NDArray[np.float32]:
    found = read_columns(folder, [f"{split}/{language}" for language in languages], ["duration"])["duration"]
    return np.asarray(found.to_numpy(), np.float32)


def states_bytes(
    durations: NDArray[np.float32], context: str | float, margin: float, width: int, window: float = 30.0
) -> int:
    """Return the size of an encoder's states of utterances of some durations, in half precision.

    Args:
        durations: seconds.
        context: `full`, `batch` or seconds, as in the experiment file.
        margin: seconds of silence behind a batch's longest utterance.
        width: of the encoder.
        window: seconds that it takes.
    """
    if context == "batch":
        seconds = np.minimum(durations + margin, window)
    else:
        seconds = np.full(len(durations), window if isinstance(context, str) else min(context, window))
    seconds = lengths(context) * seconds
    return int(_STATE * width * _POSITIONS * seconds.sum(dtype=np.float64))


def lengths(context: str | float) -> int:
    """Return at how many lengths an utterance's states are kept, on average: several where its batches differ."""
    return 2 if context == "batch" else 1


def parameters_of(model: Model, ranks: Sequence[int] = ()) -> Parameters | None:
    """Count the parameters by the weights' headers, without loading the weights.

    Args:
        model: the file's.
        ranks: of adapters that are searched; none: the file's.

    Returns:
        None without a header: a folder that is not here, a Hub checkpoint that can't be reached, damaged files, or
        others than safetensors.
    """
    from safetensors import SafetensorError

    try:
        checkpoint, revision = model.checkpoint, model.revision
        while is_adapter(Path(checkpoint)):
            checkpoint, revision = base_of(Path(checkpoint))
        files = sorted(Path(checkpoint).glob("*.safetensors"))
        shapes = _hub_shapes(checkpoint, revision) if is_hub_id(checkpoint) else _shapes_in(files)
    except SafetensorError:
        return None
    if not shapes:
        return None
    counts = {name: math.prod(shape) for name, shape in shapes.items()}
    frozen = _ENCODER if model.freeze_encoder else _SINUSOIDS
    trained = {name: count for name, count in counts.items() if not name.startswith(frozen)}
    total, width = sum(counts.values()), counts.get(f"{_ENCODER}layer_norm.weight", 0)
    targets = tuple(f".{target}.weight" for target in model.lora.targets)
    ranks = ranks or [model.lora.rank]
    adapter = max(ranks) * sum(sum(shapes[name]) for name in trained if name.endswith(targets))
    if all(ranks):
        return Parameters(total + adapter, adapter, adapter, width)
    return Parameters(total, total, sum(trained.values()), width)


def _hub_shapes(checkpoint: str, revision: str | None) -> dict[str, list[int]]:
    from huggingface_hub import get_safetensors_metadata, try_to_load_from_cache
    from huggingface_hub.errors import HTTPError, NotASafetensorsRepoError  # type: ignore[attr-defined]

    cached = try_to_load_from_cache(checkpoint, "model.safetensors", revision=revision)
    if isinstance(cached, str):
        return _shapes_in([Path(cached)])
    try:
        metadata = get_safetensors_metadata(checkpoint, revision=revision)
    except (OSError, HTTPError, NotASafetensorsRepoError):
        return {}
    files = metadata.files_metadata.values()
    return {name: tensor.shape for file in files for name, tensor in file.tensors.items()}


def _shapes_in(files: Sequence[Path]) -> dict[str, list[int]]:
    from safetensors import safe_open

    shapes: dict[str, list[int]] = {}
    for file in files:
        with safe_open(file, framework="numpy") as tensors:
            shapes |= {name: list(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    return shapes
