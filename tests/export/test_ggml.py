from __future__ import annotations

import operator
import struct
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
from typer.testing import CliRunner

from raywce.assets import MICRO_WHISPER, checkpoint_path
from raywce.cli import app
from raywce.data.features import LogMel
from raywce.errors import InputError
from raywce.evaluation.decode import Audio, evaluating, transcribe
from raywce.export.folder import export
from raywce.export.ggml import check_ggml, write_ggml
from raywce.export.source import find_source
from raywce.language_tokens import with_tokens
from raywce.model import load_model, load_tokenizer
from tests.export.runs import SearchRun
from tests.export.transcribing import by_card
from tests.speech import SPEECH, WHISPER, folder_of
from tests.tiny_whisper import write_tiny_whisper


@dataclass
class Read:
    """A file as whisper.cpp reads it."""

    sizes: tuple[int, ...]
    filters: NDArray[np.float32]
    tokens: list[bytes]
    tensors: dict[str, NDArray[np.floating]]


def read(file: Path) -> Read:
    data, place = file.read_bytes(), 0

    def numbers(count: int) -> tuple[int, ...]:
        nonlocal place
        found = struct.unpack_from(f"<{count}i", data, place)
        place += 4 * count
        return found

    def taken(size: int) -> bytes:
        nonlocal place
        place += size
        return data[place - size : place]

    sizes = numbers(12)
    rows, columns = numbers(2)
    filters = np.frombuffer(taken(4 * rows * columns), np.float32).reshape(rows, columns)
    tokens = [taken(numbers(1)[0]) for _ in range(numbers(1)[0])]
    tensors = {}
    while place < len(data):
        dimensions, length, kind = numbers(3)
        shape = tuple(reversed(numbers(dimensions)))
        name = taken(length).decode()
        dtype = np.dtype(np.float16 if kind else np.float32)
        tensors[name] = np.frombuffer(taken(dtype.itemsize * int(np.prod(shape))), dtype).reshape(shape)
    return Read(sizes, filters, tokens, tensors)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With as many tokens as the real ones."""
    return write_tiny_whisper(tmp_path_factory.mktemp("whisper") / "model", words=50_001, encoder_layers=2)


def test_it_holds_sizes_filters_and_the_bytes_of_each_token(whisper: Path, tmp_path: Path) -> None:
    write_ggml(whisper, tmp_path / "ggml" / "model.bin")
    found = read(tmp_path / "ggml" / "model.bin")
    config = WhisperForConditionalGeneration.from_pretrained(whisper).config
    assert found.sizes == (0x67676D6C, config.vocab_size, 1500, 16, 2, 2, 448, 16, 2, 1, 80, 1)
    np.testing.assert_allclose(found.filters.T, WhisperFeatureExtractor.from_pretrained(whisper).mel_filters)
    tokenizer = load_tokenizer(str(whisper))
    text = "avó, ñandú, ßtraße, 你好 word7"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert b"".join(found.tokens[index] for index in ids).decode() == text
    assert len(found.tokens) == tokenizer.convert_tokens_to_ids("<|endoftext|>")


def test_its_tensors_are_the_models_under_openai_s_names(whisper: Path, tmp_path: Path) -> None:
    write_ggml(whisper, tmp_path / "model.bin")
    found = read(tmp_path / "model.bin").tensors
    weights = WhisperForConditionalGeneration.from_pretrained(whisper).model.state_dict()
    assert len(found) == len(weights)
    pairs = {
        "encoder.conv1.weight": "encoder.conv1.weight",
        "encoder.positional_embedding": "encoder.embed_positions.weight",
        "encoder.blocks.1.attn.key.weight": "encoder.layers.1.self_attn.k_proj.weight",
        "encoder.blocks.0.attn_ln.bias": "encoder.layers.0.self_attn_layer_norm.bias",
        "encoder.blocks.0.mlp_ln.weight": "encoder.layers.0.final_layer_norm.weight",
        "encoder.ln_post.weight": "encoder.layer_norm.weight",
        "decoder.token_embedding.weight": "decoder.embed_tokens.weight",
        "decoder.positional_embedding": "decoder.embed_positions.weight",
        "decoder.blocks.0.attn.out.weight": "decoder.layers.0.self_attn.out_proj.weight",
        "decoder.blocks.0.cross_attn.query.bias": "decoder.layers.0.encoder_attn.q_proj.bias",
        "decoder.blocks.0.cross_attn.value.weight": "decoder.layers.0.encoder_attn.v_proj.weight",
        "decoder.blocks.0.cross_attn_ln.weight": "decoder.layers.0.encoder_attn_layer_norm.weight",
        "decoder.blocks.0.mlp.0.weight": "decoder.layers.0.fc1.weight",
        "decoder.blocks.0.mlp.2.bias": "decoder.layers.0.fc2.bias",
        "decoder.ln.bias": "decoder.layer_norm.bias",
    }
    for ours, theirs in pairs.items():
        np.testing.assert_allclose(found[ours], weights[theirs].numpy(), rtol=1e-3, atol=1e-6, err_msg=ours)
    bias = found["encoder.conv1.bias"]
    assert (bias.shape, bias.dtype) == ((16, 1), np.float32)
    halves = {name for name, tensor in found.items() if tensor.dtype == np.float16}
    assert halves == {name for name in found if found[name].ndim > 1 and not name.endswith(("embedding", "bias"))}


def test_what_whisper_cpp_can_not_use_is_refused(whisper: Path, tmp_path: Path) -> None:
    check_ggml(str(whisper))
    with pytest.raises(InputError) as error:
        check_ggml(checkpoint_path(MICRO_WHISPER))
    text = str(error.value)
    assert "the model's window must be 30 s, as whisper.cpp supports no other, but got 3 s" in text
    assert "must have Whisper's multilingual vocabulary, but got 428 tokens" in text
    new = with_tokens(str(whisper), None, {"ast": "es"}, tmp_path)
    with pytest.raises(InputError, match=r"must have Whisper's own language tokens alone, but got <\|ast\|>"):
        check_ggml(new)


def test_the_command_writes_it(whisper: Path, tmp_path: Path) -> None:
    run = SearchRun.write(tmp_path / "run", whisper)
    result = CliRunner().invoke(app, ["export", run.folder.uri, str(tmp_path / "out"), "--ggml"])
    assert result.exit_code == 0, result.output
    assert read(tmp_path / "out" / "ggml" / "ggml-model.bin").sizes[0] == 0x67676D6C
    assert "from pywhispercpp.model import Model" in (tmp_path / "out" / "README.md").read_text()


def test_whisper_cpp_writes_what_the_evaluation_saw(tmp_path: Path) -> None:
    """But for the rounding of half precision, and its own features: few words of twenty utterances."""
    pytest.importorskip("pywhispercpp", reason="pip install pywhispercpp")
    checkpoint, speech = folder_of(WHISPER), folder_of(SPEECH)
    by_language = [sorted(folder.glob("dev/*.flac"))[:4] for folder in sorted(speech.iterdir()) if folder.is_dir()]
    files = [str(file) for of in by_language for file in of][:20]
    languages = [Path(file).parents[1].name for file in files]
    model, log_mel = load_model(str(checkpoint)), LogMel.from_checkpoint(str(checkpoint))
    samples = [soundfile.read(file, dtype="float32")[0] for file in files]
    with evaluating(model):
        batch = Audio(log_mel.of(samples), languages, [len(one) / 16_000 for one in samples])
        ((_, texts),) = transcribe(model, load_tokenizer(str(checkpoint)), [batch], windows=1)
    export(find_source(SearchRun.write(tmp_path / "run", checkpoint).folder.uri), tmp_path / "out", ggml=True)
    cpp = by_card(tmp_path / "out", "pywhispercpp.model")
    theirs = [cpp(file, language) for file, language in zip(files, languages, strict=True)]
    ours = [one.text for one in texts]
    same, rate = sum(map(operator.eq, ours, theirs)), jiwer.wer(ours, theirs)
    print(f"\n{same} of {len(files)} texts are the same; WER of one against the other {rate:.1%}")
    assert len(files) == 20
    assert same >= 10
    assert rate < 0.1
