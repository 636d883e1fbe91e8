"""Tokens for languages that Whisper has none for: a checkpoint with them, made once a node."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from raywce.errors import fail
from raywce.model import load_model, save_model
from raywce.storage.node_copy import made_once
from raywce.whisper_folder import language_ids


def with_tokens(checkpoint: str, revision: str | None, new: Mapping[str, str], cache: Path) -> str:
    """Return a checkpoint that has a token `<|ast|>` for each new language `ast`.

    A token begins as another one: what the model writes with it is at first what it writes with the other one.

    Args:
        checkpoint: folder or Hub id.
        revision: of a Hub id.
        new: the language whose token each new one begins as.
        cache: of the node, where the checkpoint is kept.

    Returns:
        `checkpoint` itself where it lacks none.
    """
    folder = Path(checkpoint)
    if not new or (folder.is_dir() and {f"<|{language}|>" for language in new} <= language_ids(folder).keys()):
        return checkpoint
    state = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.glob("*"))]
    key = hashlib.sha256(repr((checkpoint, revision, sorted(new.items()), state)).encode()).hexdigest()[:16]
    made = cache / "language_tokens" / key

    def make(complete: Path) -> None:
        _write(checkpoint, revision, new, made)
        complete.touch()

    made_once(made / "complete", make)
    return str(made)


def _write(checkpoint: str, revision: str | None, new: Mapping[str, str], out: Path) -> None:
    model = load_model(checkpoint, revision)
    config, count = model.generation_config, len(new)
    if known := sorted(language for language in new if f"<|{language}|>" in config.lang_to_id):
        do = f"Take {', '.join(known)} out of languages.language_tokens"
        fail("languages.language_tokens", "must be of languages that the checkpoint has no token for", checkpoint, do)
    likes = {f"<|{language}|>": config.lang_to_id[f"<|{like}|>"] for language, like in sorted(new.items())}
    # Behind the last language, as Whisper large-v3 has its new one: tools take what is behind <|notimestamps|> for time
    # stamps.
    first = max(config.lang_to_id.values()) + 1
    with torch.no_grad():
        before = model.get_input_embeddings().weight.clone()
        model.resize_token_embeddings(len(before) + count, mean_resizing=False)
        rows = [before[:first], before[list(likes.values())], before[first:]]
        model.get_input_embeddings().weight.copy_(torch.cat(rows))
    for name in (
        "task_to_id",
        "no_timestamps_token_id",
        "prev_sot_token_id",
        "suppress_tokens",
        "begin_suppress_tokens",
    ):
        setattr(config, name, _moved(getattr(config, name, None), first, count))
    config.lang_to_id = config.lang_to_id | {token: first + place for place, token in enumerate(likes)}
    save_model(model, checkpoint, out, revision)
    _add_to_tokenizer(out, list(likes), first)


def _moved(ids: Any, first: int, by: int) -> Any:
    """Return an id, or all in lists and mappings, with those from `first` on moved up."""
    if isinstance(ids, Mapping):
        return {name: _moved(index, first, by) for name, index in ids.items()}
    if isinstance(ids, Sequence):
        return [_moved(index, first, by) for index in ids]
    return ids + by if isinstance(ids, int) and ids >= first else ids


def _add_to_tokenizer(folder: Path, tokens: Sequence[str], first: int) -> None:
    """Add tokens with the ids from `first` on, in the files of a fast tokenizer as transformers saves it."""
    file = folder / "tokenizer.json"
    tree, count = json.loads(file.read_text(encoding="utf-8")), len(tokens)
    known = tree["added_tokens"]
    like = next(one for one in known if one["id"] == first - 1)
    added = [{**like, "id": first + place, "content": token} for place, token in enumerate(tokens)]
    moved = [{**one, "id": _moved(one["id"], first, count)} for one in known]
    tree["added_tokens"] = sorted([*moved, *added], key=lambda one: one["id"])
    for one in tree["post_processor"]["special_tokens"].values():
        one["ids"] = _moved(one["ids"], first, count)
    file.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")
    file = folder / "tokenizer_config.json"
    tree = json.loads(file.read_text(encoding="utf-8"))
    if special := tree.get("extra_special_tokens"):
        tree["extra_special_tokens"] = [*special[:-1], *tokens, special[-1]]  # the last one too ends what is no time
        file.write_text(json.dumps(tree, ensure_ascii=False, indent=2), encoding="utf-8")
