"""What augmentation costs, beside a training step, audiomentations, and torch-audiomentations' pitch shift.

`audiomentations` has pins of its own: RAYWCE_AUDIOMENTATIONS is the python of a virtual environment that has it.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from torch_pitch_shift import pitch_shift

from raywce.augmentation.augmenter import Augmenter
from raywce.augmentation.transforms import Gain, PitchShift, TimeStretch, Transform, WhiteNoise
from raywce.augmentation.vocoder import shift_pitch
from raywce.data.features import pad_waveforms
from raywce.data.schema import SAMPLE_RATE
from raywce.data.store import open_split
from tests.augmentation.recordings import keys
from tests.benchmarks.real_training import LANGUAGES, Training
from tests.speech import prepare_speech

pytestmark = pytest.mark.benchmark

PEER = "RAYWCE_AUDIOMENTATIONS"
WINDOW = 30 * SAMPLE_RATE
BATCH_SIZE, STEPS, TURNS, SECONDS = 4, 4, 5, 4.0


def paper(probability: float | None = None) -> list[Transform]:
    """The paper's transforms, each with its own probability or all with one."""
    p = {"stretch": 0.2, "shift": 0.2, "gain": 0.1, "noise": 0.2}
    if probability is not None:
        p = dict.fromkeys(p, probability)
    return [
        TimeStretch(p["stretch"], 1.0, rate=0.1, max_samples=WINDOW),
        PitchShift(p["shift"], 1.0, semitones=4.0),
        Gain(p["gain"], 1.0, decibels=6.0),
        WhiteNoise(p["noise"], 1.0, amplitude=0.01, snr=None),
    ]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_share_of_a_training_step(tmp_path: Path) -> None:
    """The whole batch augmented, beside a step of Whisper base on the same batch."""
    training = Training(tmp_path, BATCH_SIZE, STEPS)
    chains = {
        "the paper's": paper(),
        "all four on each utterance": paper(1.0),
        "pitch shift alone on each utterance": [PitchShift(1.0, 1.0, semitones=4.0)],
    }
    shares: dict[str, list[float]] = {name: [] for name in chains}
    for number, batch in enumerate(training.loader.batches(0)):
        (part,) = batch.micro_batches
        step = seconds(lambda batch=batch, number=number: training.step(batch, number))
        for name, transforms in chains.items():
            augmenter = Augmenter(transforms, None, 0)
            drawn = keys(len(part), epoch=number)
            took = seconds(lambda a=augmenter, p=part, k=drawn: a.waveforms(p.waveforms, p.samples, k))
            if number:  # the first step makes the optimizer's state
                shares[name].append(took / step)
    print()
    for name, found in shares.items():
        print(f"augmentation, {name}: {100 * median(found):.2f} % of a step of Whisper base, {BATCH_SIZE} utterances")
    assert median(shares["all four on each utterance"]) < 0.1


def real_waveforms(tmp_path: Path) -> list[np.ndarray]:
    utterances = open_split(prepare_speech(tmp_path / "prepared"), "train", LANGUAGES, tmp_path / "cache")
    return [utterances.audio(index) for index in range(0, len(utterances), 5)]


def own_rate(waveforms: Sequence[np.ndarray], limit: float) -> float:
    """Utterances a second, in batches of 16 of like length, as the sampler makes them."""
    augmenter = Augmenter(paper(), None, 0)
    ordered = sorted(waveforms, key=len)
    batches = [ordered[start : start + 16] for start in range(0, len(ordered), 16)]
    padded = [(pad_waveforms(batch), [len(waveform) for waveform in batch]) for batch in batches]
    done, epoch, start = 0, 0, time.perf_counter()
    while time.perf_counter() - start < limit:
        for batch, lengths in padded:
            augmenter.waveforms(batch, lengths, keys(len(lengths), epoch=epoch))
            done += len(lengths)
        epoch += 1
    return done / (time.perf_counter() - start)


def test_beside_audiomentations(tmp_path: Path) -> None:
    """The same transforms and probabilities, one core, alternating."""
    python = os.environ.get(PEER)
    if not python:
        pytest.skip(f"{PEER} is not set: it is the python of a virtual environment with audiomentations")
    waveforms = real_waveforms(tmp_path)
    np.savez(tmp_path / "waveforms.npz", *waveforms)
    script = str(Path(__file__).with_name("audiomentations_peer.py"))
    command = [python, script, str(tmp_path / "waveforms.npz"), str(SECONDS)]
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PATH": os.environ["PATH"]}
    threads, ratios = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        own_rate(waveforms, 1.0)
        for _ in range(TURNS):
            own = own_rate(waveforms, SECONDS)
            peer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=one).stdout)
            ratios.append(own / peer["rate"])
            print(
                f"\nutterances a second: {own:.0f}, audiomentations {peer['rate']:.0f}, ratio {ratios[-1]:.2f}", end=""
            )
    finally:
        torch.set_num_threads(threads)
    audio = sum(map(len, waveforms)) / len(waveforms) / SAMPLE_RATE
    name = f"audiomentations {peer['version']} ({peer['method']})"
    print(f"\nover {name}: {median(ratios):.2f}, median of {TURNS}; utterances of {audio:.1f} s, one core")


def test_beside_torch_audiomentations_pitch_shift(tmp_path: Path) -> None:
    """An amount that is none of its four fast ones: a shift by one semitone of an utterance of some 2 s."""
    waveform = torch.from_numpy(min(real_waveforms(tmp_path), key=len))[None, : 2 * SAMPLE_RATE]
    ratio = Fraction(2 ** (1 / 12)).limit_denominator(1000)
    own, peer = [], []
    for _ in range(3):
        own.append(seconds(lambda: shift_pitch(waveform, [waveform.shape[1]], [1.0])))
        peer.append(seconds(lambda: pitch_shift(waveform[None], ratio, SAMPLE_RATE)))
    took = f"{1000 * median(own):.1f} ms, torch-audiomentations' {1000 * median(peer):.0f} ms"
    ratio_of_times = median(peer) / median(own)
    print(f"\npitch shift by a semitone: {took}, ratio {ratio_of_times:.0f}; {waveform.shape[1] / SAMPLE_RATE:.1f} s")
    assert median(own) < median(peer)
