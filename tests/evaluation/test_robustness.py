from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from raywce.data.features import LogMel
from raywce.data.store import Utterances, open_split
from raywce.evaluation.counts import EditCounts
from raywce.evaluation.evaluate import Evaluation
from raywce.evaluation.robustness import (
    PAUSE_S,
    joined,
    long_form,
    measure,
    pieces,
    said_to_nothing,
    scored,
    summary,
)
from raywce.evaluation.settings import DecodeSettings
from raywce.model import load_model, load_tokenizer
from tests.evaluation.talking_whisper import write_talking_whisper
from tests.tiny_corpus import write_tiny_corpus

SETTINGS = DecodeSettings()
PIECE_S = 6.0


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_corpus(tmp_path_factory.mktemp("speech"), {"gl": 1, "es": 1}, {"gl": 90, "es": 4})


@pytest.fixture(scope="module")
def split(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Utterances:
    return open_split(speech, "dev", ["gl", "es"], tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_talking_whisper(tmp_path_factory.mktemp("talking")))


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tiny corpus, no speaker has a minute."""
    monkeypatch.setattr("raywce.evaluation.robustness.PIECE_S", PIECE_S)


def test_a_piece_is_one_speaker_s_utterances_until_a_minute(split: Utterances) -> None:
    found = pieces(split, ["gl", "es"])
    assert found
    assert {piece.whole.language for piece in found} == {"gl"}, "of es there is no minute"
    assert len({piece.whole.speaker for piece in found}) == len(found)
    for piece in found:
        rows = [split[index] for index in piece.indices]
        assert {row.speaker for row in rows} == {piece.whole.speaker}
        assert piece.whole.text == " ".join(row.text for row in rows)
        seconds = sum(row.duration for row in rows) + PAUSE_S * (len(rows) - 1)
        assert piece.whole.duration == pytest.approx(seconds)
        assert seconds - rows[-1].duration - PAUSE_S < PIECE_S <= seconds
        samples = joined(split, piece)
        assert len(samples) / 16_000 == pytest.approx(seconds, abs=0.01)
        first = split.audio(piece.indices[0])
        np.testing.assert_array_equal(samples[: len(first)], first)
        assert not samples[len(first) : len(first) + 8000].any()


def test_nothing_is_silence_and_noise_for_each_language(talking: str) -> None:
    model, tokenizer = load_model(talking), load_tokenizer(talking)
    lengths: list[int] = []
    log_mel = LogMel.from_checkpoint(talking)

    def features(samples: list[np.ndarray]) -> torch.Tensor:
        lengths.extend(len(one) for one in samples)
        return log_mel.of(samples)

    rows = said_to_nothing(model, tokenizer, features, ["gl", "es"], SETTINGS)
    assert sorted(lengths) == sorted([32_000, 80_000, 320_000] * 4)
    assert {row.id for row in rows} == {f"{kind} of {s} s" for kind in ("silence", "noise") for s in (2, 5, 20)}
    assert [row.language for row in rows].count("gl") == 6
    assert all(row.words_normalized.reference_length == 0 for row in rows)
    assert all(row.words_normalized.insertions == len(row.hypothesis_normalized.split()) for row in rows)


def test_figures_are_counts_added_up(split: Utterances, talking: str) -> None:
    found = pieces(split, ["gl"])
    right = [scored(piece, piece.whole.text, SETTINGS) for piece in found]
    wrong = [scored(piece, "", SETTINGS) for piece in found]
    rows = said_to_nothing(
        load_model(talking), load_tokenizer(talking), LogMel.from_checkpoint(talking).of, ["gl"], SETTINGS
    )
    figures = summary(rows, right, {"a": right, "b": wrong}, found)["gl"]
    words = sum(len(piece.whole.text.split()) for piece in found)
    assert (figures.clips, figures.pieces) == (6, len(found))
    assert figures.clips_with_text == sum(bool(row.hypothesis_normalized) for row in rows)
    assert figures.words == sum(len(row.hypothesis_normalized.split()) for row in rows)
    assert figures.short == figures.long["a"] == EditCounts(hits=words)
    assert figures.long["b"] == EditCounts(deletions=words)
    assert figures.seconds == pytest.approx(sum(piece.whole.duration for piece in found))


def test_long_audio_is_decoded_in_one_piece(talking: str) -> None:
    model, tokenizer = load_model(talking), load_tokenizer(talking)
    model.generation_config.suppress_tokens = None  # else no time stamp, by which it goes from window to window
    model.generation_config.max_length = 30
    extractor = WhisperFeatureExtractor.from_pretrained(talking)
    heard: list[int] = []
    encoder = model.get_encoder()
    encoder.register_forward_hook(lambda module, inputs, output: heard.append(output.last_hidden_state.shape[1]))
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000 * 65).astype(np.float32)
    text = long_form(model, tokenizer, extractor, SETTINGS)(noise, "gl")
    assert len(heard) >= 2, "several windows"
    assert text


def test_a_model_is_measured_with_a_prepared_split(
    talking: str, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "raywce.evaluation.robustness.long_form", lambda *_: lambda samples, language: f"{language} {len(samples)}"
    )
    evaluation = Evaluation(talking, str(speech), "dev", ("gl", "es"), tmp_path, SETTINGS)
    found = measure(evaluation, torch.device("cpu"), lambda: {"other": lambda samples, language: ""})
    assert set(found.languages) == {"gl", "es"}
    gl, es = found.languages["gl"], found.languages["es"]
    assert (gl.clips, es.clips, es.pieces) == (6, 6, 0)
    assert gl.pieces > 0
    assert set(gl.long) == {"transformers", "other"}
    assert gl.long["other"].deletions == gl.long["other"].reference_length == gl.short.reference_length
