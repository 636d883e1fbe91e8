"""The exported folder, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pyarrow import fs
from transformers import GenerationConfig

from raywce.errors import InputError, fail
from raywce.evaluation.decode import PROMPT_TOKENS
from raywce.export.card import average_card, model_card
from raywce.export.record import Average
from raywce.export.source import Source
from raywce.export.weights import Model, overwrite
from raywce.runs.folder import STATE_FILE
from raywce.storage.failures import patiently
from raywce.storage.files import is_uri, located
from raywce.storage.node_copy import on_node
from raywce.whisper_folder import problems_of

CTRANSLATE2 = "ctranslate2"  # the subfolder of that format


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


def export(source: Source | Average, out: Path, quantization: str | None = None) -> None:
    """Write the model as a transformers folder with its card; `out` appears once it is complete.

    Args:
        source: what is exported.
        out: new or empty (`check_out`).
        quantization: of CTranslate2's format, written too; None: not written.
    """
    with model_folder(source.checkpoint, out, lambda name: name != STATE_FILE) as folder:
        if isinstance(source, Source) and source.others:
            _average(source, folder)
        write_card(source, folder, quantization)
        if quantization:
            from raywce.export.convert import convert

            convert(folder, folder / CTRANSLATE2, quantization)


def _average(source: Source, folder: Path) -> None:
    """Put the average of all trainings in the place of the first one's weights."""
    cache = Path(source.experiment.data.cache).expanduser()
    places = [source.checkpoint, *source.others]
    models = [Model(place, place, on_node(place, cache) if is_uri(place) else Path(place)) for place in places]
    for model in models:
        check_whole(model.folder, model.place)
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


def write_card(source: Source | Average, folder: Path, quantization: str | None = None) -> None:
    """Write the card of the model in `folder`."""
    positions = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_target_positions"]
    tokens = positions - PROMPT_TOKENS
    if isinstance(source, Average):
        card = average_card(source, tokens, quantization)
    else:
        card = model_card(source, tokens, quantization)
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
