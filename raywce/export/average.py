"""The average of the weights of several fine-tunings of one start, as a transformers folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError
from transformers import AutoConfig, WhisperFeatureExtractor

from raywce.errors import InputError, Problem, first_line
from raywce.export.folder import check_whole, model_folder, write_card
from raywce.export.record import Average, Member
from raywce.export.source import find_source
from raywce.export.weights import Model, overwrite
from raywce.model import load_tokenizer
from raywce.runs.folder import EXPERIMENT, RunFolder, versions
from raywce.storage.node_copy import on_node
from raywce.whisper_folder import is_adapter

FARTHEST = 0.5
_NAMED = 3  # tensors that a message names
_FLOATS = {"F64", "F32", "F16", "BF16"}
_TEXTS = {".json", ".txt"}  # what configurations and tokenizers are kept in
_BESIDE_WEIGHTS = (
    ("tokenizer.json", "vocab.json"),
    ("preprocessor_config.json", "processor_config.json"),
    ("generation_config.json",),
)
_SIZES = (  # heads, which no shape tells, and what the function depends on beside the weights
    "model_type",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "activation_function",
    "scale_embedding",
    "max_source_positions",
    "max_target_positions",
    "num_mel_bins",
)


def find_model(place: str) -> Model:
    """Return the model of a run, as `raywce export` chooses it, or that of a transformers folder.

    Args:
        place: path or URI of a run folder of `raywce search` or `raywce train`, or path of a transformers folder.

    Raises:
        InputError: it is neither, or the run has no such model.
    """
    folder = RunFolder.at(place)
    if folder.has(EXPERIMENT):
        return _of_run(place)
    found = folder.local
    if not (found and (found / "config.json").is_file()):
        rule = f"must be a run folder with {EXPERIMENT}, or a transformers folder with config.json on this machine"
        raise InputError([Problem(place, rule, "neither")])
    model = Model(place, "/".join(found.parts[-2:]), found)
    _check_not_adapter(model, "Merge it first (PEFT's merge_and_unload)")
    try:
        types = {info.dtype for info in model.tensors.values()}
    except (NotASafetensorsRepoError, SafetensorsParsingError, OSError) as error:
        raise InputError([Problem(place, "must hold its weights as safetensors", first_line(error))]) from error
    if types - _FLOATS:
        raise InputError([Problem(place, "must have floating-point weights", ", ".join(sorted(types - _FLOATS)))])
    lacking = [" or ".join(names) for names in _BESIDE_WEIGHTS if not any((found / name).is_file() for name in names)]
    if lacking:
        raise InputError(
            [Problem(place, "must hold what transcribes beside the weights", f"no {', no '.join(lacking)}")]
        )
    return model


def _of_run(place: str) -> Model:
    try:
        source = find_source(place)
    except InputError as error:
        raise InputError([replace(problem, path=place) for problem in error.problems]) from error
    if source.others:
        do = "Export it, and name the exported folder"
        raise InputError([Problem(place, "must have a single model", f"an average of {1 + len(source.others)}", do)])
    name = source.folder.uri.rpartition("/")[2]
    cache = Path(source.experiment.data.cache).expanduser()
    found = on_node(source.checkpoint, cache)
    check_whole(found, source.checkpoint)
    model = Model(place, f"{name}/{source.trial_id}".rstrip("/"), found)
    _check_not_adapter(model, "Export it, and name the exported folder")
    return model


def _check_not_adapter(model: Model, do: str) -> None:
    if is_adapter(model.folder):
        raise InputError([Problem(model.place, "must be a whole model", "an adapter (PEFT)", do)])


def problems(models: Sequence[Model]) -> list[Problem]:
    """Return why models can't be averaged, each compared with the first.

    Models of one shape that were trained apart average to noise: the same function has many orders of its units.
    Weights say where they come from. Of two that have nothing to do with each other, the distance ||a - b|| / ||a|| of
    a matrix is about 1.4, the square root of 2; fine-tunings of one start are a few percent apart. At a distance d the
    average has sqrt(1 - d² / 4) times the length: 97 % at `FARTHEST`, 71 % at 1.4. What counts is the median over the
    matrices in which two models differ: sinusoids and what was frozen are the same in all, and say nothing.
    """
    found = []
    for number, model in enumerate(models[1:], 1):
        same = [before for before in models[:number] if before.folder.resolve() == model.folder.resolve()]
        if same:
            found.append(Problem(model.place, "must be another model than those before it", same[0].place))
        else:
            found += list(_shape_problems(models[0], model)) or list(_start_problems(models[0], model))
    return found


def _shape_problems(first: Model, other: Model) -> Iterator[Problem]:
    configs = [AutoConfig.from_pretrained(model.folder) for model in (first, other)]
    for key in _SIZES:
        wanted, got = (getattr(config, key, None) for config in configs)
        if got != wanted:
            yield Problem(other.place, f"{key} must be {wanted}, as in {first.place}", str(got))
    wanted, got = (len(load_tokenizer(str(model.folder))) for model in (first, other))
    if got != wanted:
        yield Problem(other.place, f"the tokenizer must have {wanted} tokens, as in {first.place}", str(got))
    tensors, others = first.tensors, other.tensors
    if missing := sorted(tensors.keys() - others.keys()):
        yield Problem(other.place, f"must have every tensor of {first.place}", f"no {_first_of(missing)}")
    if unknown := sorted(others.keys() - tensors.keys()):
        yield Problem(other.place, f"must have no other tensors than {first.place}", _first_of(unknown))
    shared = [name for name in tensors if name in others]
    if differ := [f"{name} {others[name].shape}" for name in shared if others[name].shape != tensors[name].shape]:
        yield Problem(other.place, f"tensors must have the shapes that they have in {first.place}", _first_of(differ))


def _first_of(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _start_problems(first: Model, other: Model) -> Iterator[Problem]:
    apart = distance(first, other)
    if not apart <= FARTHEST:  # NaN neither: a training that diverged
        rule = f"must be a fine-tuning of the same start as {first.place}: matrices at most {FARTHEST} apart"
        yield Problem(other.place, rule, f"{apart:.2f}", "Models that were trained apart average to noise")


def distance(one: Model, other: Model) -> float:
    """Return the median of ||a - b|| / ||a|| over the matrices in which two models differ; 0 without any."""
    found = []
    for name, info in one.tensors.items():
        if len(info.shape) > 1:
            a, b = one.read(name).float(), other.read(name).float()
            if not torch.equal(a, b):
                found.append(torch.dist(a, b) / torch.linalg.vector_norm(a))
    return float(torch.stack(found).median()) if found else 0.0


def average(models: Sequence[Model], out: Path, shares: Sequence[float] | None = None) -> None:
    """Write the average of the weights, with all else as the first model has it; `out` appears once it is complete.

    One tensor is averaged at a time, in float32 or wider, and written as the first model has it.

    Args:
        models: without `problems`.
        out: new or empty (`raywce.export.folder.check_out`).
        shares: of each model, positive and 1 together; None: all the same.

    Raises:
        ValueError: the shares are not such.
    """
    shares = [1 / len(models)] * len(models) if shares is None else shares
    if len(shares) != len(models) or min(shares) <= 0 or not math.isclose(sum(shares), 1):
        raise ValueError(f"{len(models)} models must have as many positive shares, 1 together, but got {shares}")
    first = models[0]
    weights = first.metadata.files_metadata
    with model_folder(str(first.folder), out, lambda name: name in weights or Path(name).suffix in _TEXTS) as folder:
        overwrite(folder, models, shares)
        if not (folder / "preprocessor_config.json").is_file():  # what other tools read
            WhisperFeatureExtractor.from_pretrained(folder).save_pretrained(folder)
        members = [Member(model.name, share) for model, share in zip(models, shares, strict=True)]
        record = Average(str(folder), members, json.loads(versions()))
        record.write()
        write_card(record, folder)
