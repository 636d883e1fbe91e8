"""The exported folder, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import EvalResultEntry
from pyarrow import fs
from transformers import GenerationConfig

from raywce.errors import InputError, fail
from raywce.evaluation.decode import PROMPT_TOKENS
from raywce.experiment.environment import is_hub_id
from raywce.export import benchmarks
from raywce.export.card import average_card, model_card
from raywce.export.ggml import FILE, write_ggml
from raywce.export.record import Average
from raywce.export.source import Source
from raywce.export.weights import Model, overwrite
from raywce.lora import save_average
from raywce.model import load_average
from raywce.runs.folder import STATE_FILE
from raywce.storage.failures import patiently
from raywce.storage.files import exists, is_uri, located
from raywce.storage.node_copy import on_node
from raywce.whisper_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, is_adapter, problems_of

CTRANSLATE2 = "ctranslate2"  # the subfolder of that format
GGML = f"ggml/{FILE}"


def check_out(out: str, path: str = "OUT") -> Path:
    """Return the folder to write as a path; `path` names the argument in the messages.

    Raises:
        InputError: it is not a local path, or not empty.
    """
    if is_uri(out):
        fail(path, "must be a folder on this machine", out)
    folder = Path(out).expanduser().resolve()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        fail(path, "must be new or empty", out, "Name another folder, or remove this one")
    return folder


def export(
    source: Source | Average,
    out: Path,
    quantization: str | None = None,
    *,
    ggml: bool = False,
    adapter: bool = False,
    results: Sequence[EvalResultEntry] = (),
) -> None:
    """Write the model as a transformers folder with its card; `out` appears once it is complete.

    Args:
        source: what is exported.
        out: new or empty (`check_out`).
        quantization: of CTranslate2's format, written too; None: not written.
        ggml: write whisper.cpp's format too.
        adapter: keep an adapter as it is, in place of merging it into its model.
        results: on benchmarks of the Hub, of `raywce.export.benchmarks.entries`.
    """
    with model_folder(source.checkpoint, out, lambda name: name != STATE_FILE) as folder:
        places = {source.checkpoint: folder, **_others(source)}
        if not is_adapter(folder):
            _average(places, folder)
        elif adapter:
            save_average(list(places.values()), folder)
        else:
            merged = load_average([str(place) for place in places.values()])
            merged.generation_config = GenerationConfig.from_pretrained(folder)  # without a default language
            merged.save_pretrained(folder)
            for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
                (folder / name).unlink()
        write_card(source, folder, quantization, ggml)
        if results:
            benchmarks.write(results, folder)
        if quantization:
            from raywce.export.convert import convert

            convert(folder, folder / CTRANSLATE2, quantization)
        if ggml:
            write_ggml(folder, folder / GGML)


def check_adapter(source: Source | Average, shared: bool) -> None:
    """Check that there is an adapter to keep.

    Args:
        source: what is exported.
        shared: others are to open it.

    Raises:
        InputError: the model is whole, or others could not find the adapter's.
    """
    if not exists(f"{source.checkpoint}/{ADAPTER_CONFIG}"):
        fail("--adapter", "the model must be trained with LoRA (model.lora)", "a whole model", "Leave it out")
    base = source.experiment.model.checkpoint if isinstance(source, Source) else ""
    if shared and not is_hub_id(base):
        do = "Leave --adapter out: the merged model can be uploaded"
        fail("--adapter", "must be of a model on the Hub to be uploaded there", base, do)


def _others(source: Source | Average) -> dict[str, Path]:
    """Return the folder on this machine of each further training that is averaged, by its path or URI.

    Raises:
        InputError: one lacks something or is damaged.
    """
    if not isinstance(source, Source):
        return {}
    cache = Path(source.experiment.data.cache).expanduser()
    folders = {place: on_node(place, cache) if is_uri(place) else Path(place) for place in source.others}
    for place, folder in folders.items():
        check_whole(folder, place)
    return folders


def _average(places: Mapping[str, Path], folder: Path) -> None:
    """Put the average of all trainings in the place of the first one's weights, which are the folder's own."""
    models = [Model(place, place, found) for place, found in places.items()]
    if len(models) > 1:
        overwrite(folder, models, [1 / len(models)] * len(models))


@contextmanager
def model_folder(checkpoint: str, out: Path, wanted: Callable[[str], bool]) -> Iterator[Path]:
    """Yield a copy of a checkpoint without a default language; it becomes `out` when the block ends well.

    Args:
        checkpoint: path or URI of the transformers folder.
        out: new or empty (`check_out`).
        wanted: whether the file of that name is copied.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        folder = Path(work, out.name)
        folder.mkdir()
        _copy_checkpoint(checkpoint, folder, wanted)
        check_whole(folder, checkpoint)
        _clear_default_language(folder)
        yield folder
        folder.rename(out)


def check_whole(folder: Path, place: str) -> None:
    """Raise an `InputError` naming what lacks or is damaged in the checkpoint that a run keeps at `place`.

    Args:
        folder: the checkpoint, or a copy of it.
        place: path or URI of the checkpoint.
    """
    found = problems_of(folder, "RUN")
    if found:
        raise InputError([replace(one, got=one.got.replace(str(folder), place)) for one in found])


def write_card(source: Source | Average, folder: Path, quantization: str | None = None, ggml: bool = False) -> None:
    """Write the card of the model in `folder`, with what else stands there."""
    positions = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_target_positions"]
    tokens = positions - PROMPT_TOKENS
    if isinstance(source, Average):
        card = average_card(source, tokens, quantization, ggml=ggml)
    else:
        card = model_card(source, tokens, quantization, ggml=ggml, adapter=is_adapter(folder))
    (folder / "README.md").write_text(card, encoding="utf-8")


@patiently
def _copy_checkpoint(checkpoint: str, folder: Path, wanted: Callable[[str], bool]) -> None:
    """Copy the wanted files, none of subfolders."""
    filesystem, root = located(checkpoint)
    for file in filesystem.get_file_info(fs.FileSelector(root)):
        if file.type is fs.FileType.File and wanted(file.base_name):
            here = str(folder / file.base_name)
            fs.copy_files(file.path, here, source_filesystem=filesystem, destination_filesystem=fs.LocalFileSystem())


def _clear_default_language(folder: Path) -> None:
    """Remove a default language, which a checkpoint that was fine-tuned before may have."""
    generation = GenerationConfig.from_pretrained(folder)
    for name in ("language", "task", "forced_decoder_ids"):
        if getattr(generation, name, None) is not None:
            setattr(generation, name, None)
    generation.save_pretrained(folder)
    file = folder / "config.json"  # where checkpoints of 2022 have it
    config = json.loads(file.read_text(encoding="utf-8"))
    if config.pop("forced_decoder_ids", None):
        file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
