"""LoRA: small trained matrices beside weights that stay as they are (arXiv 2106.09685), by PEFT."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from raywce.errors import fail, first_sentence
from raywce.whisper_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS

if TYPE_CHECKING:
    from transformers import WhisperForConditionalGeneration

_PREFIX = "base_model.model."  # in front of each name in an adapter's file
_NAME = "default"  # PEFT's, of a model's only adapter


@dataclass(frozen=True)
class LoraSettings:
    """An adapter's shape.

    Attributes:
        rank: r of the two matrices A (r, in) and B (out, r) beside each (out, in) matrix.
        alpha: B A is scaled by alpha / rank.
        dropout: share of the numbers that A takes which are set to 0.
        targets: last names of the linear layers that get one, such as q_proj.
    """

    rank: int
    alpha: float
    dropout: float
    targets: Sequence[str]


def add_adapter(model: WhisperForConditionalGeneration, settings: LoraSettings, seed: int) -> None:
    """Add an adapter to each target whose weights would be trained; from here on it is all that is trained.

    B begins with zeros, so that the model computes what it did, and A with draws of `seed`.
    """
    from peft import LoraConfig, inject_adapter_in_model

    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and name.rpartition(".")[2] in settings.targets
        and module.weight.requires_grad
    ]
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        target_modules=names,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)


def has_adapter(model: WhisperForConditionalGeneration) -> bool:
    """Return whether `add_adapter` has been here."""
    return hasattr(model, "peft_config")


def save_adapter(model: WhisperForConditionalGeneration, folder: Path, base: str, revision: str | None) -> None:
    """Write the model's adapter as PEFT does.

    Args:
        model: with an adapter.
        folder: made if needed.
        base: checkpoint that the model was loaded from, for whoever opens the adapter.
        revision: of a Hub id.
    """
    from peft import get_peft_model_state_dict

    folder.mkdir(parents=True, exist_ok=True)
    # Else it asks the Hub for the base's vocabulary, each time.
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    weights = {f"{_PREFIX}{name}": weight for name, weight in own.items()}
    save_file(weights, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = model.peft_config[_NAME]
    config.base_model_name_or_path, config.revision = base, revision
    config.save_pretrained(folder)


def load_adapter(model: WhisperForConditionalGeneration, folder: Path) -> None:
    """Put a saved adapter into a model that has one of the same shape.

    Raises:
        ValueError: it has other matrices.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    weights = {name.removeprefix(_PREFIX): weight for name, weight in load_file(folder / ADAPTER_WEIGHTS).items()}
    if weights.keys() != get_peft_model_state_dict(model, save_embedding_layers=False).keys():
        raise ValueError(f"{ADAPTER_WEIGHTS} has other matrices than the model")
    set_peft_model_state_dict(model, weights)


def merged(model: WhisperForConditionalGeneration, folder: Path) -> WhisperForConditionalGeneration:
    """Return the model with a saved adapter's products added to its weights.

    Raises:
        InputError: it is an adapter of another model.
    """
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, folder).merge_and_unload()
    except Exception as error:  # PEFT, torch and safetensors raise many kinds
        fail(str(folder), "must hold an adapter that fits its model", first_sentence(error))


def save_average(adapters: Sequence[Path], out: Path) -> None:
    """Write the average of several adapters of one shape and base, exactly: as one of the sum of their ranks.

    Their A one above the other and their B side by side make the sum of the products, and alpha / (n r) their mean.

    Args:
        adapters: folders that hold them.
        out: folder that exists.
    """
    config = json.loads((adapters[0] / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    parts = [load_file(folder / ADAPTER_WEIGHTS) for folder in adapters]
    joined = {name: torch.cat([part[name] for part in parts], dim=1 if ".lora_B." in name else 0) for name in parts[0]}
    save_file(joined, out / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    together = config | {"r": len(adapters) * config["r"]}
    (out / ADAPTER_CONFIG).write_text(json.dumps(together, indent=2), encoding="utf-8")
