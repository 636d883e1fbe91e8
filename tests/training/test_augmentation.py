"""An experiment's augmentation: its transforms, and that workers, micro-batches and resumes draw the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor

from raywce.augmentation.keys import DrawKey
from raywce.data.features import LogMel
from raywce.data.labels import LabelEncoder
from raywce.data.loader import Corpus, Loader
from raywce.data.sampler import BatchSampler
from raywce.data.store import label_lengths, open_split
from raywce.errors import InputError
from raywce.experiment.schema import Experiment
from raywce.model import load_model, load_tokenizer
from raywce.training.augmentation import make_augmenter
from tests.tiny_corpus import flac, write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper

LANGUAGES = ["gl", "es"]
STEPS = 6
ACTS = {"probability": 1.0}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_tiny_whisper(folder / "model", chunk_length=3)
    write_tiny_corpus(folder / "data", {"gl": 7, "es": 20})
    (folder / "noise").mkdir()
    (folder / "noise" / "tone.flac").write_bytes(flac(0.5))
    return folder


def experiment(inputs: Path, **augmentation: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "a",
            "model": {"checkpoint": str(inputs / "model")},
            "data": {"folder": str(inputs / "data"), "cache": str(inputs / "cache")},
            "languages": {"low_resource": ["gl"], "high_resource": ["es"]},
            "training": {"steps": STEPS, "batch_size": 8, "seed": 3},
            "augmentation": augmentation,
        }
    )


def test_the_transforms_act_in_their_order(inputs: Path) -> None:
    noise = {**ACTS, "folder": str(inputs / "noise")}
    every = dict.fromkeys(("white_noise", "gain", "pitch_shift", "time_stretch", "spec_augment"), ACTS)
    made = experiment(inputs, background_noise=noise, impulse_response=noise, **every)
    augmenter = make_augmenter(made, LogMel.from_checkpoint(str(inputs / "model")))
    names = [transform.name for transform in augmenter.transforms]
    assert names == ["time_stretch", "pitch_shift", "impulse_response", "gain", "background_noise", "white_noise"]
    assert augmenter.spec_augment
    assert augmenter.seed == 3
    assert augmenter.transforms[0].max_samples == 3 * 16_000  # type: ignore[attr-defined]


def test_what_cannot_act_is_not_made(inputs: Path) -> None:
    made = experiment(inputs, preset="paper", gain={"probability": 0.0}, pitch_shift={"semitones": 0.0})
    augmenter = make_augmenter(made, LogMel.from_checkpoint(str(inputs / "model")))
    assert [transform.name for transform in augmenter.transforms] == ["time_stretch", "white_noise"]
    assert augmenter.spec_augment is None


def test_a_bad_recording_is_an_input_error(inputs: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "good.wav", [0.0] * 100, 16_000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF....WAVE")
    made = experiment(inputs, background_noise={**ACTS, "folder": str(tmp_path)})
    with pytest.raises(InputError, match=r"augmentation\.background_noise\.folder.*bad\.wav"):
        make_augmenter(made, LogMel.from_checkpoint(str(inputs / "model")))


def loader_of(inputs: Path, rank: int = 0, workers: int = 1, accumulation_steps: int = 1) -> Loader:
    checkpoint, cache = str(inputs / "model"), inputs / "cache"
    utterances = open_split(inputs / "data", "train", LANGUAGES, cache)
    encoder = LabelEncoder.of(load_model(checkpoint), load_tokenizer(checkpoint), {name: name for name in LANGUAGES})
    corpus = Corpus(utterances, encoder, label_lengths(utterances, encoder, cache))
    sampler = BatchSampler(
        corpus.pools(LANGUAGES),
        utterances.durations,
        {"gl": 0.5, "es": 0.5},
        batch_size=8,
        steps=STEPS,
        seed=3,
        copies={"gl": 1},
    )
    return Loader(corpus, sampler, rank, workers, accumulation_steps, threads=1, prefetch=2)


Drawn = dict[tuple[int, str], tuple[DrawKey | None, Tensor]]


def drawn(inputs: Path, workers: int, accumulation_steps: int, first_step: int = 0) -> Drawn:
    """Key and audio of each utterance, by step and id."""
    made = experiment(inputs, preset="paper", time_stretch=ACTS, pitch_shift=ACTS, white_noise=ACTS, gain=ACTS)
    augmenter = make_augmenter(made, LogMel.from_checkpoint(str(inputs / "model")))
    found: Drawn = {}
    for rank in range(workers):
        batches = loader_of(inputs, rank, workers, accumulation_steps).batches(first_step)
        for step, batch in enumerate(batches, start=first_step):
            for part in batch.micro_batches:
                keys = augmenter.keys(part.epochs, part.copies, part.ids)
                waveforms, lengths = augmenter.waveforms(part.waveforms, part.samples, keys)
                for id_, key, waveform, length in zip(part.ids, keys, waveforms, lengths, strict=True):
                    found[step, id_] = key, waveform[:length]
    return found


@pytest.mark.parametrize(("workers", "accumulation_steps"), [(2, 1), (1, 2), (2, 2)])
def test_any_number_of_workers_and_micro_batches_hears_the_same(
    inputs: Path, workers: int, accumulation_steps: int
) -> None:
    alone, split = drawn(inputs, 1, 1), drawn(inputs, workers, accumulation_steps)
    assert alone.keys() == split.keys()
    assert {key is not None for key, _ in alone.values()} == {True, False}
    for at, (key, waveform) in alone.items():
        assert split[at][0] == key
        if key is None:
            assert torch.equal(split[at][1], waveform)
        else:
            torch.testing.assert_close(split[at][1], waveform, atol=1e-5, rtol=0)


def test_a_resumed_run_goes_on_with_the_same_draws(inputs: Path) -> None:
    whole, resumed = drawn(inputs, 1, 2), drawn(inputs, 1, 2, first_step=2)
    assert {step for step, _ in resumed} == set(range(2, STEPS))
    for at, (key, waveform) in resumed.items():
        assert whole[at][0] == key
        assert torch.equal(whole[at][1], waveform)
