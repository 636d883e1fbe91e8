"""Whisper from a checkpoint folder or Hub id, set up for fine-tuning."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

from raywce.data.context import FRAMES_A_POSITION
from raywce.errors import fail, first_sentence
from raywce.lora import has_adapter, merged, save_adapter
from raywce.loss import utterance_losses
from raywce.whisper_folder import base_of, completion, is_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from transformers.models.whisper.modeling_whisper import WhisperEncoder


def load_model(
    checkpoint: str,
    revision: str | None = None,
    *,
    freeze_encoder: bool = False,
    gradient_checkpointing: bool = False,
) -> WhisperForConditionalGeneration:
    """Load a Whisper with float32 parameters, on the CPU, in training mode; an adapter is merged into its model.

    Its encoder takes any even number of frames up to the checkpoint's window; what its generation configuration lacks
    is completed from its tokenizer.

    Raises:
        InputError: transformers can't open it, a weight lacks, or its tokenizer lacks Whisper's tokens.
    """
    model = _opened(checkpoint, revision)
    _complete(model, checkpoint, revision)
    for config in (model.config, model.generation_config):  # older checkpoints have a prompt of their own in either
        if getattr(config, "forced_decoder_ids", None):
            config.forced_decoder_ids = None
    # transformers' own SpecAugment draws from numpy's global state: runs could not be repeated.
    model.config.apply_spec_augment = False
    # Whisper's sinusoids are constants; transformers 5 forgets that when it loads them, and would train them.
    model.model.encoder.embed_positions.requires_grad_(False)
    _take_any_context(model.model.encoder)
    if freeze_encoder:
        model.model.encoder.requires_grad_(False)
    if gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    return model.train()


def _opened(checkpoint: str, revision: str | None) -> WhisperForConditionalGeneration:
    if is_adapter(folder := Path(checkpoint)):
        return merged(_opened(*base_of(folder)), folder).requires_grad_(True)
    try:
        model, loaded = WhisperForConditionalGeneration.from_pretrained(
            checkpoint,
            revision=revision,
            dtype=torch.float32,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except Exception as error:  # transformers, torch and safetensors raise many kinds
        fail(checkpoint, "must be a Whisper that transformers opens", first_sentence(error))
    if has_adapter(model):  # which transformers does not merge, and which could not be trained
        rule = "must be a whole model, or an adapter's folder on this machine"
        fail(checkpoint, rule, "an adapter (PEFT) on the Hub", "Download its folder, or name a merged model")
    if missing := sorted(loaded["missing_keys"]):  # transformers would continue with random numbers in their place
        fail(checkpoint, "must hold every weight of the model", f"{len(missing)} missing: {', '.join(missing[:3])}")
    return model


def load_average(checkpoints: Sequence[str], revision: str | None = None) -> WhisperForConditionalGeneration:
    """Load the average of several checkpoints' weights; everything else is the first one's.

    Args:
        checkpoints: fine-tunings of one start, as `load_model` takes them; a single one is loaded as it is.
        revision: of a Hub id.
    """
    model = load_model(checkpoints[0], revision)
    for number, other in enumerate(checkpoints[1:], 2):
        weights = dict(load_model(other, revision).named_parameters())
        with torch.no_grad():
            for name, mean in model.named_parameters():
                mean.lerp_(weights[name], 1 / number)
    return model


def _complete(model: WhisperForConditionalGeneration, checkpoint: str, revision: str | None) -> None:
    """Add to the generation configuration what it lacks for Whisper's prompts and for their end."""
    config = model.generation_config
    for name in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"):
        if getattr(config, name) is None:
            setattr(config, name, getattr(model.config, name))
    lacks = completion(config.to_dict(), lambda: load_tokenizer(checkpoint, revision).get_vocab(), checkpoint)
    for name, value in lacks.items():
        setattr(config, name, value)


def _take_any_context(encoder: WhisperEncoder) -> None:
    """Let transformers' encoder take shorter input than its window, with the first of its positions.

    It compares the input with its configuration, and takes as many positions as its embedding says it has. Both follow
    the input from here on; the weights and the model's own configuration, which are saved, stay as they are.
    """
    encoder.config = copy.deepcopy(encoder.config)
    encoder.register_forward_pre_hook(_follow_input, with_kwargs=True)


def _follow_input(encoder: WhisperEncoder, args: tuple[torch.Tensor, ...], kwargs: Mapping[str, torch.Tensor]) -> None:
    features = args[0] if args else kwargs["input_features"]
    positions, odd = divmod(features.shape[-1], FRAMES_A_POSITION)
    window = len(encoder.embed_positions.weight)
    if odd or not 1 <= positions <= window:
        rule = f"the encoder takes 2, 4, … or {FRAMES_A_POSITION * window} frames"
        raise ValueError(f"{rule}, but got {features.shape[-1]}")
    encoder.config.max_source_positions = encoder.embed_positions.num_embeddings = positions


def load_tokenizer(checkpoint: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load the checkpoint's fast tokenizer."""
    return AutoTokenizer.from_pretrained(checkpoint, revision=revision)


def save_model(model: WhisperForConditionalGeneration, source: str, folder: Path, revision: str | None = None) -> None:
    """Write a complete transformers folder: weights, configuration, and `source`'s tokenizer and preprocessor.

    The generation configuration keeps every language of the original. Of a model with an adapter, it holds the adapter
    in place of the weights, and names `source` as its model.
    """
    if has_adapter(model):
        save_adapter(model, folder, source, revision)
        model.config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)
    else:
        model.save_pretrained(folder)
    for beside in _beside_weights(source, revision):
        beside.save_pretrained(folder)


@lru_cache(maxsize=1)  # a training saves one model again and again
def _beside_weights(source: str, revision: str | None) -> tuple[PreTrainedTokenizerBase, WhisperFeatureExtractor]:
    return load_tokenizer(source, revision), WhisperFeatureExtractor.from_pretrained(source, revision=revision)


class UtteranceLosses(torch.nn.Module):
    """Whisper from features and labels to token losses, in one `forward`: what DDP wraps."""

    def __init__(self, whisper: WhisperForConditionalGeneration) -> None:
        super().__init__()
        self.whisper = whisper

    def forward(
        self, heard: torch.Tensor, labels: torch.Tensor, counted: torch.Tensor, encoded: bool = False
    ) -> torch.Tensor:
        """Return the (B,) sums of token losses of (B, L) labels.

        Args:
            heard: (B, M, F) features, or with `encoded` (B, S, D) encoder states.
            labels: `IGNORED` behind each utterance.
            counted: (N,) `raywce.loss.counted_positions` of the labels.
            encoded: leave the encoder out.
        """
        inputs = decoder_inputs(self.whisper, labels)
        given = {"encoder_outputs": (heard,)} if encoded else {"input_features": heard}
        decoded = self.whisper.model(**given, decoder_input_ids=inputs, use_cache=False)
        return utterance_losses(decoded.last_hidden_state, self.whisper.proj_out.weight, labels, counted)


def decoder_inputs(model: WhisperForConditionalGeneration, labels: torch.Tensor) -> torch.Tensor:
    """Return the (B, L) decoder input ids: `<|startoftranscript|>`, then the labels but the last one."""
    inputs = labels.new_full(labels.shape, model.config.decoder_start_token_id)
    inputs[:, 1:] = labels[:, :-1]
    return inputs.masked_fill(inputs < 0, model.config.pad_token_id)
