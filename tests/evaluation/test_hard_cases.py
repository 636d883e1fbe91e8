from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from raywce.assets import MICRO_WHISPER, checkpoint_path
from raywce.cluster.decode import run_evaluation
from raywce.data.store import Utterances, open_split
from raywce.evaluation.evaluate import Evaluation
from raywce.evaluation.hard_cases import PAUSE_S, decode_hard_cases, joined, long_form, nothing, pieces
from raywce.evaluation.robustness import NOTHING, SENTENCE, TRANSFORMERS
from raywce.evaluation.settings import DecodeSettings
from raywce.model import load_model, load_tokenizer
from tests.evaluation.talking_whisper import write_talking_whisper
from tests.tiny_corpus import write_tiny_corpus

SETTINGS = DecodeSettings()
PIECE_S, NOTHING_S = 6.0, (0.1, 0.25, 1.0)


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
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tiny corpus, no speaker has a minute; and to 20 s of silence, a random model says 448 tokens."""
    monkeypatch.setattr("raywce.evaluation.hard_cases.PIECE_S", PIECE_S)
    monkeypatch.setattr("raywce.evaluation.hard_cases.NOTHING_S", NOTHING_S)


def test_a_piece_is_one_speaker_s_utterances_until_a_minute(split: Utterances) -> None:
    found = pieces(split)
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


def test_nothing_is_silence_and_noise_for_each_language() -> None:
    clips = nothing(["gl", "es"], most=16_000)
    assert sorted(len(clip.samples) for clip in clips) == sorted([1_600, 4_000, 16_000] * 4)
    assert {clip.said.id for clip in clips} == {
        f"{kind} of {s:g} s" for kind in ("silence", "noise") for s in NOTHING_S
    }
    assert [clip.said.language for clip in clips].count("gl") == 6
    assert {clip.said.text for clip in clips} == {""}
    for clip in clips:
        assert clip.said.duration == len(clip.samples) / 16_000
        amplitude = np.sqrt(np.mean(np.square(clip.samples, dtype=float)))
        noise = 10 ** (-50 / 20)  # -50 dB of full scale
        assert amplitude == pytest.approx(noise if clip.said.id.startswith("noise") else 0.0, rel=0.1)
    assert {clip.said.duration for clip in nothing(["gl"], most=15_999)} == {0.1, 0.25}, "of no more than fits"


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


def test_an_evaluation_of_hard_cases_has_a_row_of_each(
    talking: str, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "raywce.evaluation.hard_cases.long_form", lambda *_: lambda samples, language: f"{language} ola"
    )
    evaluation = Evaluation(talking, str(speech), "dev", ("gl", "es"), tmp_path, SETTINGS, hard_cases=True)
    rows = run_evaluation(evaluation).to_pylist()
    kinds = Counter((row["id"].partition(": ")[0], row["language"]) for row in rows)
    assert kinds[NOTHING, "gl"] == kinds[NOTHING, "es"] == 6
    assert kinds[TRANSFORMERS, "gl"] == 3
    assert (TRANSFORMERS, "es") not in kinds, "no speaker of es has so long"
    whole = {row["speaker"]: row for row in rows if row["id"].startswith(TRANSFORMERS)}
    for speaker, row in whole.items():
        own = [one for one in rows if one["id"].startswith(SENTENCE) and one["speaker"] == speaker]
        assert row["reference"] == " ".join(one["reference"] for one in sorted(own, key=lambda one: one["id"]))
        assert row["hypothesis"] == "gl ola"


def test_a_model_with_a_short_window_is_told_what_fits_it(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raywce.evaluation.hard_cases.NOTHING_S", (2.0, 5.0, 20.0))
    model = checkpoint_path(MICRO_WHISPER, "MODEL")  # 3 s, and no time stamps
    evaluation = Evaluation(model, str(speech), "dev", ("gl",), tmp_path, SETTINGS, hard_cases=True)
    assert set(run_evaluation(evaluation)["id"].to_pylist()) == {
        f"{NOTHING}: {kind} of 2 s" for kind in ("silence", "noise")
    }


def test_the_work_is_shared_by_the_ranks(talking: str, split: Utterances, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raywce.evaluation.hard_cases.long_form", lambda *_: lambda samples, language: "ola")
    model, tokenizer = load_model(talking), load_tokenizer(talking)
    extractor = WhisperFeatureExtractor.from_pretrained(talking)
    whole, *shares = (
        [row.id for row in decode_hard_cases(model, tokenizer, extractor, split, SETTINGS, rank, workers)]
        for rank, workers in ((0, 1), (0, 2), (1, 2))
    )
    assert all(shares)
    assert sorted(itertools.chain(*shares)) == sorted(whole)
