"""What an exported model writes, through the tools that people use, is what the evaluation saw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tokenizers
import torch
from transformers import AutoProcessor

from raywce.assets import MICRO_WHISPER, checkpoint_path
from raywce.data.features import LogMel
from raywce.errors import InputError
from raywce.evaluation.decode import PROMPT_TOKENS, Audio, TokenBound, evaluating, transcribe
from raywce.experiment.schema import Languages, NewToken
from raywce.export.convert import can_convert, check_convertible, long_form
from raywce.export.folder import export
from raywce.export.source import find_source
from raywce.language_tokens import with_tokens
from raywce.lora import LoraSettings, add_adapter
from raywce.model import load_model, load_tokenizer, save_model
from raywce.whisper_folder import problems_of
from tests.evaluation.talking_whisper import write_talking_whisper
from tests.export.runs import SearchRun
from tests.export.transcribing import by_card
from tests.tiny_whisper import write_tiny_whisper

LANGUAGES = ["gl", "es", "en"]
TOKENS = 12  # after which all are cut: a random model seldom ends by itself


def write_noises(folder: Path, seconds: Sequence[float]) -> list[str]:
    """Noises as FLAC, which holds 16 bits: what each tool reads is the same."""
    random = np.random.default_rng(0)
    for number, length in enumerate(seconds):
        soundfile.write(folder / f"{number}.flac", random.normal(0, 0.1 * (number + 1), int(16_000 * length)), 16_000)
    return [str(folder / f"{number}.flac") for number in range(len(seconds))]


def evaluated(checkpoint: Path, files: Sequence[str], languages: Sequence[str]) -> list[Any]:
    """As `raywce evaluate` decodes."""
    samples = [soundfile.read(file, dtype="float32")[0] for file in files]
    model, log_mel = load_model(str(checkpoint)), LogMel.from_checkpoint(str(checkpoint))
    with evaluating(model):
        features = log_mel.of(samples)
        durations = [len(one) / 16_000 for one in samples]
        bound = TokenBound(per_second=0, extra=TOKENS)
        batch, tokenizer = Audio(features, languages, durations), load_tokenizer(str(checkpoint))
        ((_, transcriptions),) = transcribe(model, tokenizer, [batch], windows=1, bound=bound)
    return transcriptions


def write_multilingual(folder: Path) -> Path:
    """A random Whisper with as many tokens as the real ones, which suppresses what faster-whisper does."""
    from faster_whisper.tokenizer import Tokenizer
    from faster_whisper.transcribe import get_suppressed_tokens

    write_tiny_whisper(folder, words=50_001, init_std=0.3)
    known = Tokenizer(tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")), True, "transcribe", "es")
    generation = json.loads((folder / "generation_config.json").read_text())
    generation["suppress_tokens"] = list(get_suppressed_tokens(known, [-1]))
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


@pytest.mark.parametrize("library", ["transformers", "faster_whisper"])
def test_the_cards_code_gives_the_texts_of_the_evaluation(tmp_path: Path, library: str) -> None:
    pytest.importorskip(library, reason="pip install 'raywce[ctranslate2]'")
    write = write_talking_whisper if library == "transformers" else write_multilingual
    checkpoint = write(tmp_path / "checkpoint")
    run = SearchRun.write(tmp_path / "run", checkpoint)
    out = tmp_path / "out"
    export(find_source(run.folder.uri), out, "float32" if library == "faster_whisper" else None)
    files = write_noises(tmp_path, [2.5, 4.0, 29.0, 1.0, 16.5, 0.3])
    languages = [LANGUAGES[number % 3] for number in range(len(files))]
    seen = [one.text for one in evaluated(checkpoint, files, languages)]
    # CTranslate2 takes half of prompt and new tokens together for the new ones.
    limit = 2 * TOKENS - PROMPT_TOKENS if library == "faster_whisper" else TOKENS
    transcribe = by_card(out, library, limit)
    assert len(set(seen)) > 1
    assert [transcribe(*pair) for pair in zip(files, languages, strict=True)] == seen


@pytest.mark.parametrize("library", ["transformers", "faster_whisper"])
def test_the_cards_code_takes_a_new_token(tmp_path: Path, library: str) -> None:
    pytest.importorskip(library, reason="pip install 'raywce[ctranslate2]'")
    write = write_talking_whisper if library == "transformers" else write_multilingual
    base = write(tmp_path / "base")
    checkpoint = Path(with_tokens(str(base), None, {"ast": "es"}, tmp_path))
    model = load_model(str(checkpoint))  # trained: the token has become another than the one that it began as
    with torch.no_grad():
        weights, ids = model.get_input_embeddings().weight, model.generation_config.lang_to_id
        weights[ids["<|ast|>"]] *= -4
    save_model(model, str(checkpoint), tmp_path / "trained")
    source = find_source(SearchRun.write(tmp_path / "run", tmp_path / "trained").folder.uri)
    languages = Languages(low_resource=["ast"], high_resource=["es"], language_tokens={"ast": NewToken(new_like="es")})
    experiment = source.experiment.model_copy(update={"languages": languages})
    last = {f"wer{kind}/{name}": 0.5 for kind in ("", "_normalized") for name in ("ast", "es")}
    source = replace(source, experiment=experiment, rows=[{**source.last, **last}], outcome=None)
    export(source, tmp_path / "out", "float32" if library == "faster_whisper" else None)
    files = write_noises(tmp_path, [2.5, 4.0, 16.5, 0.3])
    seen, spanish = (
        [one.text for one in evaluated(tmp_path / "trained", files, [language] * len(files))]
        for language in ("ast", "es")
    )
    assert seen != spanish
    limit = 2 * TOKENS - PROMPT_TOKENS if library == "faster_whisper" else TOKENS
    transcribe = by_card(tmp_path / "out", library, limit)
    language = "ast" if library == "faster_whisper" else "<|ast|>"
    assert [transcribe(file, language) for file in files] == seen


def test_long_speech_is_decoded_with_a_new_token(tmp_path: Path) -> None:
    whisper = pytest.importorskip("faster_whisper", reason="pip install 'raywce[ctranslate2]'")
    base = write_multilingual(tmp_path / "base")
    checkpoint = Path(with_tokens(str(base), None, {"yox": "es"}, tmp_path))
    assert can_convert(checkpoint)
    assert "yox" not in whisper.tokenizer._LANGUAGE_CODES
    transcribe = long_form(checkpoint, tmp_path)
    noise = np.random.default_rng(0).normal(0, 0.1, 40 * 16_000).astype(np.float32)
    assert transcribe(noise, "yox") == transcribe(noise, "es") != ""  # as its token began


def test_the_cards_code_for_an_adapter_gives_the_texts_of_the_evaluation(tmp_path: Path) -> None:
    base = write_talking_whisper(tmp_path / "base")
    model = load_model(str(base))
    add_adapter(model, LoraSettings(2, 4, 0.0, ["q_proj", "out_proj"]), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    save_model(model, str(base), tmp_path / "checkpoint")
    run = SearchRun.write(tmp_path / "run", tmp_path / "checkpoint")
    export(find_source(run.folder.uri), tmp_path / "out", adapter=True)
    files = write_noises(tmp_path, [2.5, 4.0, 1.0])
    seen = [one.text for one in evaluated(tmp_path / "checkpoint", files, LANGUAGES)]
    assert seen != [one.text for one in evaluated(base, files, LANGUAGES)]
    transcribe = by_card(tmp_path / "out", "transformers", TOKENS, base)
    assert [transcribe(*pair) for pair in zip(files, LANGUAGES, strict=True)] == seen


def test_another_window_is_refused() -> None:
    with pytest.raises(InputError, match="must be 30 s, as faster-whisper supports no other, but got 3 s"):
        check_convertible(checkpoint_path(MICRO_WHISPER), "float32")


def test_a_folder_of_a_processor_is_known_and_what_faster_whisper_lacks_named(tmp_path: Path) -> None:
    folder = write_tiny_whisper(tmp_path / "checkpoint")
    AutoProcessor.from_pretrained(folder).save_pretrained(folder)
    (folder / "preprocessor_config.json").unlink()
    assert (folder / "processor_config.json").is_file()
    assert problems_of(folder, "MODEL") == []
    with pytest.raises(InputError, match=r"must hold tokenizer\.json and preprocessor_config\.json, but got no prepro"):
        check_convertible(str(folder), "float32")
    assert not can_convert(folder)


def test_another_vocabulary_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2", reason="pip install 'raywce[ctranslate2]'")
    run = SearchRun.write(tmp_path / "run", write_tiny_whisper(tmp_path / "checkpoint"))
    with pytest.raises(InputError, match="must have Whisper's multilingual vocabulary"):
        export(find_source(run.folder.uri), tmp_path / "models" / "out", "float32")
    assert not any((tmp_path / "models").iterdir())
