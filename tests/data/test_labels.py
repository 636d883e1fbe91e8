from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.whisper.modeling_whisper import shift_tokens_right

from raywce.data.labels import IGNORED, LabelEncoder, pad_labels
from raywce.errors import InputError
from raywce.model import decoder_inputs, load_model, load_tokenizer
from tests.tiny_whisper import write_tiny_whisper

TEXTS = ["Ola, avó!", "el mar", "  two words  "]
LANGUAGES = ["gl", "es", "en"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Any:
    return load_model(str(checkpoint))


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Path) -> Any:
    return load_tokenizer(str(checkpoint))


@pytest.fixture(scope="module")
def encoder(model: Any, tokenizer: Any) -> LabelEncoder:
    return LabelEncoder.of(model, tokenizer, {language: language for language in LANGUAGES})


def test_labels_are_language_task_text_and_end(encoder: LabelEncoder, tokenizer: Any) -> None:
    for ids, text, language in zip(encoder.encode(TEXTS, LANGUAGES), TEXTS, LANGUAGES, strict=True):
        prompt = ["<|startoftranscript|>", f"<|{language}|>", "<|transcribe|>", "<|notimestamps|>"]
        assert tokenizer.convert_ids_to_tokens(ids[:3]) == prompt[1:]
        assert tokenizer.decode(ids[3:-1]) == f" {text.strip()}"
        assert tokenizer.convert_ids_to_tokens(ids[-1]) == "<|endoftext|>"


def test_labels_are_what_the_tokenizer_itself_would_say_behind_the_start_token(
    encoder: LabelEncoder, checkpoint: Path
) -> None:
    own = load_tokenizer(str(checkpoint))
    own.set_prefix_tokens(language="gl", task="transcribe", predict_timestamps=False)
    start, *expected = own(" " + TEXTS[0])["input_ids"]
    assert own.convert_ids_to_tokens(start) == "<|startoftranscript|>"
    assert encoder.encode(TEXTS[:1], ["gl"]) == [expected]


def test_time_stamps_are_what_the_tokenizer_itself_would_say(encoder: LabelEncoder, checkpoint: Path) -> None:
    own = load_tokenizer(str(checkpoint))
    own.set_prefix_tokens(language="gl", task="transcribe", predict_timestamps=True)
    _, *expected = own(f"<|0.00|> {TEXTS[0]}<|2.48|>")["input_ids"]
    stamped, plain = encoder.encode(TEXTS[:1] * 2, ["gl", "gl"], [2.483, None])
    assert stamped == expected
    assert plain == encoder.encode(TEXTS[:1], ["gl"])[0]
    assert len(stamped) == len(plain) + 1


def test_the_last_time_stamp_is_that_of_the_window(encoder: LabelEncoder, tokenizer: Any) -> None:
    (ids,) = encoder.encode(["a"], ["gl"], [31.0])
    assert tokenizer.convert_ids_to_tokens(ids[-2]) == "<|30.00|>"


def test_a_language_can_take_anothers_token(model: Any, tokenizer: Any) -> None:
    encoder = LabelEncoder.of(model, tokenizer, {"ast": "es", "es": "es"})
    asturian, spanish = encoder.encode(["ola", "ola"], ["ast", "es"])
    assert asturian == spanish
    assert tokenizer.convert_ids_to_tokens(asturian[0]) == "<|es|>"


def test_the_end_token_stays_though_padding_has_its_id(encoder: LabelEncoder, model: Any, tokenizer: Any) -> None:
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == encoder.end
    labels = encoder.encode(TEXTS, LANGUAGES)
    padded = pad_labels(labels)
    assert padded.dtype == torch.int64
    assert (padded == encoder.end).sum(dim=1).tolist() == [1, 1, 1]
    assert (padded != IGNORED).sum(dim=1).tolist() == list(map(len, labels))
    for row, ids in zip(padded.tolist(), labels, strict=True):
        assert row == ids + [IGNORED] * (padded.shape[1] - len(ids))


def test_decoder_inputs_start_once_and_are_shifted_as_in_transformers(encoder: LabelEncoder, model: Any) -> None:
    labels = pad_labels(encoder.encode(TEXTS, LANGUAGES))
    inputs = decoder_inputs(model, labels)
    config = model.config
    assert torch.equal(inputs, shift_tokens_right(labels, config.pad_token_id, config.decoder_start_token_id))
    assert (inputs == config.decoder_start_token_id).sum(dim=1).tolist() == [1, 1, 1]
    assert (inputs[:, 0] == config.decoder_start_token_id).all()


def test_the_limit_is_the_decoders_positions(tmp_path: Path) -> None:
    short = str(write_tiny_whisper(tmp_path, max_target_positions=20))
    model = load_model(short)
    encoder = LabelEncoder.of(model, load_tokenizer(short), {"gl": "gl"})
    assert encoder.limit == 20
    labels = pad_labels(encoder.encode(["a" * 15], ["gl"]))  # one token a byte, the space, the prompt's 3, the end
    assert labels.shape[1] == encoder.limit
    with torch.no_grad():
        logits = model(torch.zeros(1, 80, 3000), decoder_input_ids=decoder_inputs(model, labels)).logits
    assert logits.shape[:2] == labels.shape


def test_a_token_that_the_model_lacks_is_named(tmp_path: Path) -> None:
    source = str(write_tiny_whisper(tmp_path))
    with pytest.raises(InputError, match=r"model\.checkpoint: must have a token for yue"):
        LabelEncoder.of(load_model(source), load_tokenizer(source), {"gl": "gl", "yue": "yue"})


def test_no_texts_no_labels(encoder: LabelEncoder) -> None:
    assert encoder.encode([], []) == []


def test_the_fingerprint_is_the_tokenizers(encoder: LabelEncoder, model: Any, checkpoint: Path) -> None:
    again = load_tokenizer(str(checkpoint))
    assert LabelEncoder.of(model, again, {"gl": "gl"}).fingerprint == encoder.fingerprint
    again.add_tokens(["mar"])
    assert LabelEncoder.of(model, again, {"gl": "gl"}).fingerprint != encoder.fingerprint


def test_a_transcript_that_spells_a_token_is_text(encoder: LabelEncoder) -> None:
    (labels,) = encoder.encode(["a <|endoftext|> b"], ["es"])
    assert labels.count(encoder.end) == 1
    assert labels[-1] == encoder.end
    assert encoder.tokenizer.decode(labels[3:-1]).strip() == "a <|endoftext|> b"
