"""Utterances a second through `audiomentations`, in a virtual environment of its own; raywce is not installed there.

PYTHON audiomentations_peer.py FILE.npz SECONDS: the waveforms of FILE again and again, for SECONDS; prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import numpy as np
from audiomentations import AddGaussianNoise, Compose, Gain, PitchShift, TimeStretch

RATE = 16_000


def main(file: str, seconds: float) -> None:
    """The paper's transforms and probabilities, by the library's default stretching method."""
    stretch = TimeStretch(min_rate=0.9, max_rate=1.1, leave_length_unchanged=False, p=0.2)
    augment = Compose(
        [
            stretch,
            PitchShift(min_semitones=-4, max_semitones=4, p=0.2),
            Gain(min_gain_db=-6, max_gain_db=6, p=0.1),
            AddGaussianNoise(min_amplitude=0.005, max_amplitude=0.015, p=0.2),
        ]
    )
    waveforms = [waveform.astype(np.float32) for waveform in np.load(file).values()]
    augment(waveforms[0], sample_rate=RATE)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for waveform in waveforms:
            augment(waveform, sample_rate=RATE)
        done += len(waveforms)
    rate = done / (time.perf_counter() - start)
    print(json.dumps({"rate": rate, "version": version("audiomentations"), "method": stretch.method}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
