"""What a transformers folder must hold for Whisper to be fine-tuned and to transcribe, looked at without torch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from raywce.errors import Absent, InputError, Problem, fail, first_line
from raywce.storage.git_lfs import is_pointer

Tree = Mapping[str, Any]

GENERATION = "generation_config.json"
WINDOW_SECONDS = 30  # of Whisper; models for tests have shorter ones
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_NEEDED = ("lang_to_id", "task_to_id", "no_timestamps_token_id")
_LANGUAGE_TOKEN = re.compile(r"<\|[a-z]{2,3}\|>")
_BINS, _POSITIONS = 80, 1500  # transformers' defaults
_ENGLISH_ONLY = 51_864  # tokens; Whisper's multilingual vocabularies are larger
_COPY = "Copy that from the model that this one was fine-tuned from"


def problems_of(folder: Path, path: str) -> list[Problem]:
    """Return why transformers could not open the folder, or Whisper not transcribe with what it opens.

    Args:
        folder: that exists.
        path: what a message calls it: the key or argument.
    """
    try:
        return list(_problems(folder, path))
    except InputError as error:
        return [replace(one, path=path, rule=f"{one.path}: {one.rule}") for one in error.problems]


def is_adapter(folder: Path) -> bool:
    """Return whether the folder holds an adapter (PEFT) in place of a model's weights."""
    return (folder / ADAPTER_CONFIG).is_file() and not any(_weight_files(folder))


def base_of(folder: Path) -> tuple[str, str | None]:
    """Return the checkpoint of an adapter's model, and its revision of a Hub id."""
    config = _read(folder / ADAPTER_CONFIG)
    return config["base_model_name_or_path"], config.get("revision")


def language_ids(folder: Path) -> dict[str, int]:
    """Return the id of each language token (`<|gl|>`) that a folder without `problems_of` has."""
    ids: dict[str, int] = (_read(folder / GENERATION) | lacking(folder))["lang_to_id"]
    return ids


def has_time_stamps(folder: Path) -> bool:
    """Return whether the vocabulary of a folder without `problems_of` holds a time stamp for each encoder position."""
    config, generation = _read(folder / "config.json"), _read(folder / GENERATION) | lacking(folder)
    positions, tokens = config.get("max_source_positions", _POSITIONS), config.get("vocab_size", 0)
    return holds_time_stamps(generation["no_timestamps_token_id"], positions, tokens)


def holds_time_stamps(no_timestamps: int, positions: int, tokens: int) -> bool:
    """Return whether a vocabulary of so many tokens holds time stamps behind `<|notimestamps|>`, one a position."""
    return no_timestamps + 1 + positions < tokens


def lacking(folder: Path) -> dict[str, Any]:
    """Return the `completion` of a folder's generation configuration by its tokenizer."""
    generation = _read(folder / GENERATION)
    return completion(generation, lambda: _vocabulary(folder), str(folder))


def completion(generation: Tree, read_vocabulary: Callable[[], Mapping[str, int]], source: str) -> dict[str, Any]:
    """Return what Whisper's prompts need and a generation configuration lacks, as did those of 2022.

    Args:
        generation: the configuration, as in its file.
        read_vocabulary: returns the id of each of the tokenizer's tokens, special ones too; called where needed.
        source: folder or Hub id, for messages.

    Raises:
        InputError: the tokenizer does not have Whisper's tokens.
    """
    if all(generation.get(name) for name in _NEEDED):
        return {}
    vocabulary = read_vocabulary()
    languages = {token: index for token, index in sorted(vocabulary.items()) if _LANGUAGE_TOKEN.fullmatch(token)}
    tasks = {name: vocabulary[f"<|{name}|>"] for name in ("transcribe", "translate") if f"<|{name}|>" in vocabulary}
    found = dict(zip(_NEEDED, (languages, tasks, vocabulary.get("<|notimestamps|>")), strict=True))
    lacks = {name: value for name, value in found.items() if not generation.get(name)}
    if not all(lacks.values()):
        rule = f"must have {', '.join(_NEEDED)}, or its tokenizer the tokens that they name"
        fail(
            f"{source}/{GENERATION}", rule, f"neither for {', '.join(name for name in lacks if not lacks[name])}", _COPY
        )
    return lacks


def _problems(folder: Path, path: str) -> Iterator[Problem]:
    name = str(folder)
    if is_adapter(folder):
        found = list(_adapter_problems(folder, path))
        yield from found
        if found:
            return
    if not (folder / "config.json").is_file():
        inner = sorted(file.parent.name for file in folder.glob("*/config.json"))
        do = f"Name a folder in it: {', '.join(inner)}" if inner else ""
        yield Problem(path, "must be a transformers folder with config.json", name, do)
        return
    config = _read(folder / "config.json")
    if (kind := config.get("model_type", "whisper")) != "whisper":
        yield Problem(path, "must be a Whisper", f"{name}, a {kind}")
        return
    if not is_adapter(folder):
        yield from _weights_problems(folder, path)
        if (folder / ADAPTER_CONFIG).is_file():
            rule = f"must have no {ADAPTER_CONFIG} beside whole weights: transformers would apply the adapter to them"
            yield Problem(path, rule, str(folder), "Remove that file where the adapter is merged")
    yield from _extractor_problems(folder, path, config)
    yield from _tokens_problems(folder, path, config)


def _adapter_problems(folder: Path, path: str) -> Iterator[Problem]:
    config = _read(folder / ADAPTER_CONFIG)
    base, kind = config.get("base_model_name_or_path"), config.get("peft_type")
    got = f"{folder}, an adapter (PEFT, {kind or 'of no type'}) of {base or 'no model'}"
    merge = "Merge it with PEFT's merge_and_unload(), save the whole model with its processor, and name that folder"
    lacking = [name for name in ("config.json", ADAPTER_WEIGHTS) if not (folder / name).is_file()]
    if kind != "LORA" or not base:
        yield Problem(path, "must be a whole model, or a LoRA adapter that names its model", got, merge)
    elif lacking:
        rule = "must be a whole model, or hold the adapter's weights and its model's configurations and tokenizer"
        yield Problem(path, f"{rule}: {', '.join(lacking)}", got, merge)
    elif find_spec("peft") is None:
        yield Absent(path, "peft must be installed to open an adapter", got, "Run pip install 'raywce[lora]'")
    elif Path(base).is_absolute() and not Path(base).is_dir():
        yield Absent(path, "the adapter's model must be on this machine", got, merge)
    else:
        yield from problems_of(Path(base), path) if Path(base).is_dir() else ()
        yield from _damage(folder / ADAPTER_WEIGHTS, path)


def _weights_problems(folder: Path, path: str) -> Iterator[Problem]:
    files = list(_weight_files(folder))
    if not files:
        rule = (
            f"must be a transformers folder with weights: {' or '.join(_WEIGHTS)}, whole or in parts with their index"
        )
        yield Problem(path, rule, str(folder))
    for file in files:
        if not file.is_file():
            yield Problem(path, "must hold every part of the weights that its index names", f"no {file}")
        elif is_pointer(file):
            yield Problem(path, "must hold the weights themselves", f"{file}, a Git LFS pointer", "Run git lfs pull")
        elif file.suffix == ".safetensors":
            yield from _damage(file, path)


def _damage(file: Path, path: str) -> Iterator[Problem]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy"):
            pass
    except SafetensorError as error:
        yield Problem(path, "must hold whole weights", f"{file} ({first_line(error)})", "Copy the file again")


def _weight_files(folder: Path) -> Iterator[Path]:
    """Yield the files of the weights that transformers would open, there or not; none without any."""
    for name in _WEIGHTS:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            yield folder / name
            return
        if index.is_file():
            yield from (folder / part for part in sorted(set(_read(index).get("weight_map", {}).values())))
            return


def _extractor_problems(folder: Path, path: str, config: Tree) -> Iterator[Problem]:
    """Yield what is wrong with the configuration of log-mel features: that of the processor, else one of its own."""
    processor, own = folder / "processor_config.json", folder / "preprocessor_config.json"
    extractor = _read(processor).get("feature_extractor")
    if extractor is None and not own.is_file():
        rule = f"must be a transformers folder with {own.name}, or a {processor.name} with a feature_extractor"
        yield Problem(path, rule, str(folder), _COPY)
        return
    wanted, bins = config.get("num_mel_bins", _BINS), (extractor or _read(own)).get("feature_size", _BINS)
    if bins != wanted:
        yield Problem(path, f"must have features of {wanted} mel bins, as its model", f"{bins} in {folder}", _COPY)


def window_seconds(folder: Path) -> float:
    """Return the length of audio that the model takes."""
    extractor = _read(folder / "processor_config.json").get("feature_extractor") or {}
    return float((extractor or _read(folder / "preprocessor_config.json")).get("chunk_length", WINDOW_SECONDS))


def _tokens_problems(folder: Path, path: str, config: Tree) -> Iterator[Problem]:
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        yield Problem(path, "must be a transformers folder with a tokenizer: tokenizer.json", str(folder), _COPY)
        return
    generation = _read(folder / GENERATION)
    # Whisper's checkpoints for English only have no language to select.
    if generation.get("is_multilingual", config.get("vocab_size") != _ENGLISH_ONLY) is False:
        yield Problem(path, "must be multilingual", str(folder))
        return
    if "<|startoftranscript|>" not in _vocabulary(folder):
        yield Problem(path, "must have Whisper's tokenizer", f"another in {folder}", _COPY)
        return
    lacking(folder)


def _vocabulary(folder: Path) -> dict[str, int]:
    """Return the id of each token, special ones too."""
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    try:
        if file.is_file():
            vocabulary: dict[str, int] = Tokenizer.from_file(str(file)).get_vocab()
        else:  # older files, which transformers converts
            from transformers import AutoTokenizer

            vocabulary = AutoTokenizer.from_pretrained(folder).get_vocab()
    except Exception as error:  # tokenizers has no kind of its own
        fail(str(file), "must be a tokenizer that transformers opens", first_line(error), _COPY)
    return vocabulary


def _read(file: Path) -> dict[str, Any]:
    """Return a JSON file's keys and values; none where there is no file."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        fail(str(file), "must be JSON", first_line(error), _COPY)
    if not isinstance(found, dict):
        fail(str(file), "must hold keys and values", type(found).__name__, _COPY)
    return found
