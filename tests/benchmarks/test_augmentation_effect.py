"""What augmentation and weight contribute on the demo world, apart and together, over several seeds.

All four see the same utterances in the same order: shares are fixed, so that augmentation is not more exposure.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from raywce.experiment.load import load
from tests.benchmarks.demo_runs import as_changes, trained
from tests.demo_world import EXPERIMENT

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(7200)]

SEEDS = range(2001, 2004)
SHARES = {"gl": 0.06, "es": 0.188, "pt": 0.188, "fr": 0.188, "de": 0.188, "en": 0.188}
WEIGHT = {"kind": "constant", "alpha": 4}
AUGMENTED = {
    "preset": "paper",
    "copies": "all",
    "time_stretch": {"probability": 0.5},
    "pitch_shift": {"probability": 0.5},
    "white_noise": {"probability": 0.5, "amplitude": 0.002},
}
APART: dict[str, dict[str, Any]] = {
    "plain": {"weighting": {"kind": "none"}},
    "+ augmentation": {"weighting": {"kind": "none"}, "augmentation": AUGMENTED},
    "+ weight": {"weighting": WEIGHT},
    "both": {"weighting": WEIGHT, "augmentation": AUGMENTED},
}


def dev_wers(run: Path, languages: list[str]) -> list[float]:
    """Percent by language, after the last step."""
    last = pq.read_table(run / "reports.parquet").to_pylist()[-1]
    return [100 * last[f"wer/{language}"] for language in languages]


def test_apart_and_together(tmp_path: Path) -> None:
    storage = Path(os.environ.get("RAYWCE_DEMO_RUNS", tmp_path))
    languages = load(EXPERIMENT, check_files=False).experiment.languages.all
    found: dict[str, np.ndarray] = {}
    for name, changes in APART.items():
        runs = []
        for seed in SEEDS:
            own = as_changes({**changes, "training.seed": seed, "data.sampling.shares": SHARES})
            run = trained(EXPERIMENT, storage, f"{name.replace(' ', '').replace('+', 'with-')}-{seed}", own)
            runs.append(dev_wers(run, languages))
        found[name] = np.array(runs)
    print(f"\ndev WER in %, mean and standard deviation over {len(SEEDS)} seeds\n{'':16}", end="")
    print(*(f"{language:>14}" for language in languages), sep="")
    for name, wers in found.items():
        cells = zip(wers.mean(0), wers.std(0, ddof=1), strict=True)
        print(f"{name:16}", *(f"{mean:8.2f} ± {spread:4.2f}" for mean, spread in cells), sep="")
    assert found["+ weight"][:, 0].mean() < found["plain"][:, 0].mean()
