from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from raywce.data.features import LogMel
from raywce.data.store import Utterances, open_split
from raywce.model import load_model
from raywce.training.encoder_states import EncoderStates, fingerprint, fits, has_dropout
from tests.tiny_corpus import write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper

FRAMES = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("states")
    write_tiny_whisper(folder / "model", chunk_length=3)
    return write_tiny_corpus(folder, {"gl": 6, "es": 5}, {})


@pytest.fixture
def speech(folder: Path) -> Utterances:
    return open_split(folder, "train", ["gl", "es"], folder / "cache")


class Encoding:
    """Stands for an encoder: states that say whose they are, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], int]] = []

    def __call__(self, indices: list[int], frames: int) -> torch.Tensor:
        self.asked.append((indices, frames))
        return torch.stack([torch.full((frames // 2, 4), index + 1.0) for index in indices])


def test_states_are_the_encoder_s_to_the_rounding_of_half_precision(folder: Path, speech: Utterances) -> None:
    model, log_mel = load_model(str(folder / "model")), LogMel.from_checkpoint(str(folder / "model"))
    encoder = model.get_encoder()
    states = EncoderStates.of(encoder, fingerprint(encoder), speech, log_mel, "fp32", folder / "cache")
    found = states([3, 0, 3], FRAMES)
    assert found.dtype == torch.float16
    with torch.no_grad():
        expected = encoder(log_mel.of([speech.audio(index) for index in (3, 0, 3)], FRAMES)).last_hidden_state
    torch.testing.assert_close(found.float(), expected, rtol=1e-3, atol=1e-3)


def test_each_is_computed_once_for_all_trainings_of_a_node(tmp_path: Path) -> None:
    one, other = Encoding(), Encoding()
    first = EncoderStates(tmp_path / "a", 10, 4, one)
    assert first([2, 5, 2], 6)[:, 0, 0].tolist() == [3.0, 6.0, 3.0]
    assert first([5, 2, 7], 6)[:, -1, -1].tolist() == [6.0, 3.0, 8.0]
    second = EncoderStates(tmp_path / "a", 10, 4, other)
    assert second([2, 5, 7, 9], 6).shape == (4, 3, 4)
    second([2], 8)  # in another context they are others
    assert one.asked == [([2, 5], 6), ([7], 6)]
    assert other.asked == [([9], 6), ([2], 8)]


def test_states_that_are_there_are_counted_by_the_room_that_they_take(tmp_path: Path) -> None:
    wide, encoding = 4096, Encoding()
    states = EncoderStates(tmp_path, 1000, wide, lambda rows, frames: encoding(rows, frames).repeat(1, 1, wide // 4))
    assert states.on_disk == 0
    states([3], 6)
    assert 3 * wide * 2 <= states.on_disk < 10 * 3 * wide * 2, "of a thousand rows, one"


def test_what_a_lost_process_had_half_written_is_computed_again(tmp_path: Path) -> None:
    encoding = Encoding()
    EncoderStates(tmp_path, 3, 4, encoding)([0, 1], 6)
    torn = np.memmap(tmp_path / "6.f16", np.float16, "r+", shape=(3, 3, 4))
    torn[1, 0] = 0
    torn.flush()
    assert EncoderStates(tmp_path, 3, 4, encoding)([0, 1], 6)[1].eq(2.0).all()
    assert encoding.asked == [([0, 1], 6), ([1], 6)]


def test_a_row_is_marked_once_the_rest_of_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_flush: list[np.ndarray] = []
    monkeypatch.setattr(np.memmap, "flush", lambda self: at_flush.append(np.array(self)))
    EncoderStates(tmp_path, 3, 4, Encoding())([1], 6)
    (written,) = at_flush
    assert not written[1, 0].any()
    assert (written[1, 1:] == 2.0).all()


def test_without_room_states_are_computed_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoding, free = Encoding(), [100, 51, 49, 49]
    usage = lambda folder: SimpleNamespace(free=free.pop(0) if len(free) > 1 else free[0])  # noqa: E731
    monkeypatch.setattr("raywce.training.encoder_states.shutil.disk_usage", usage)
    states = EncoderStates(tmp_path, 20, 4, encoding)
    assert states(range(12), 6)[:, 0, 0].tolist() == [index + 1.0 for index in range(12)]
    assert states([11, 0, 8, 8], 6)[:, -1, -1].tolist() == [12.0, 1.0, 9.0, 9.0]
    assert [rows for rows, _ in encoding.asked] == [list(range(8)), list(range(8, 12)), [11, 8]]


def test_other_weights_speech_precisions_and_hosts_have_their_own(
    folder: Path, speech: Utterances, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, log_mel = load_model(str(folder / "model")), LogMel.from_checkpoint(str(folder / "model"))
    encoder, cache = model.get_encoder(), folder / "own"
    key = fingerprint(encoder)
    assert fingerprint(load_model(str(folder / "model")).get_encoder()) == key
    EncoderStates.of(encoder, key, speech, log_mel, "fp32", cache)([0], FRAMES)
    EncoderStates.of(encoder, key, speech, log_mel, "bf16", cache)([0], FRAMES)
    part = open_split(folder, "train", ["gl"], folder / "cache")
    EncoderStates.of(encoder, key, part, log_mel, "fp32", cache)([0], FRAMES)
    with torch.no_grad():
        encoder.layers[0].fc1.bias.add_(1.0)
    assert fingerprint(encoder) != key
    EncoderStates.of(encoder, fingerprint(encoder), speech, log_mel, "fp32", cache)([0], FRAMES)
    assert len(list((cache / "encoder_states").iterdir())) == 4
    monkeypatch.setattr("socket.gethostname", lambda: "another-host")
    EncoderStates.of(encoder, key, speech, log_mel, "fp32", cache)([0], FRAMES)
    assert len(list((cache / "encoder_states").iterdir())) == 5


def test_at_most_half_of_a_disk_s_free_space_is_taken(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert fits(free // 4, tmp_path / "new")
    assert not fits(3 * free // 4, tmp_path)


@pytest.mark.parametrize("name", ["dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop"])
def test_an_encoder_with_dropout_has_no_states_to_keep(folder: Path, name: str) -> None:
    model = load_model(str(folder / "model"))
    assert not has_dropout(model)
    setattr(model.config, name, 0.1)
    assert has_dropout(model)
