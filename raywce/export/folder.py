"""The exported folder, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from pyarrow import fs
from transformers import GenerationConfig

from raywce.errors import fail
from raywce.evaluation.decode import PROMPT_TOKENS
from raywce.export.card import model_card
from raywce.export.source import Source
from raywce.runs.folder import STATE_FILE
from raywce.storage.failures import patiently
from raywce.storage.files import is_uri, located

CTRANSLATE2 = "ctranslate2"  # the subfolder of that format


def check_out(out: str) -> Path:
    """Return the folder to write as a path.

    Raises:
        InputError: it is not a local path, or not empty.
    """
    if is_uri(out):
        fail("OUT", "must be a folder on this machine", out)
    folder = Path(out).expanduser().resolve()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        fail("OUT", "must be new or empty", out, "Name another folder, or remove this one")
    return folder


def export(source: Source, out: Path, quantization: str | None = None) -> None:
    """Write the model as a transformers folder with its card; `out` appears once it is complete.

    Args:
        source: what is exported.
        out: new or empty (`check_out`).
        quantization: of CTranslate2's format, written too; None: not written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        folder = Path(work, out.name)
        folder.mkdir()
        _copy_checkpoint(source.checkpoint, folder)
        _clear_default_language(folder)
        positions = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_target_positions"]
        card = model_card(source, positions - PROMPT_TOKENS, quantization)
        (folder / "README.md").write_text(card, encoding="utf-8")
        if quantization:
            from raywce.export.convert import convert

            convert(folder, folder / CTRANSLATE2, quantization)
        folder.rename(out)


@patiently
def _copy_checkpoint(checkpoint: str, folder: Path) -> None:
    """Copy all files but the state of the training."""
    filesystem, root = located(checkpoint)
    for file in filesystem.get_file_info(fs.FileSelector(root)):
        if file.type is fs.FileType.File and file.base_name != STATE_FILE:
            here = str(folder / file.base_name)
            fs.copy_files(file.path, here, source_filesystem=filesystem, destination_filesystem=fs.LocalFileSystem())


def _clear_default_language(folder: Path) -> None:
    """Remove a default language, which a checkpoint that was fine-tuned before may have."""
    generation = GenerationConfig.from_pretrained(folder)
    for name in ("language", "task", "forced_decoder_ids"):
        if getattr(generation, name, None) is not None:
            setattr(generation, name, None)
    generation.save_pretrained(folder)
