"""Fine-tuning on sentences of 3 to 8 s against Hugging Face's Seq2SeqTrainer; run with -m benchmark -s.

Each way runs in a process of its own, one after the other, round by round. RAYWCE_SHORT names a folder that keeps the
prepared speech and what was measured, so that a run that was broken off goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from tests.benchmarks.short_training import BATCH_SIZE, PEER, PEER_BF16, WAYS
from tests.speech import WHISPER, folder_of, prepare_speech

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(6 * 3600)]

ROOT = Path(__file__).parents[2]
ROUNDS = 3
STEPS = {PEER: 1, PEER_BF16: 1, "full, fp32": 1, "full, bf16": 1, "batch, fp32": 7, "batch, bf16": 7}
FULL_SHARE = 0.1
MIXED = f"batch, bf16, {FULL_SHARE:.0%} of the steps full"


def measure(way: str, folder: Path) -> dict[str, float]:
    arguments = [sys.executable, "-m", "tests.benchmarks.short_training", way, str(folder), str(STEPS[way])]
    printed = subprocess.run(arguments, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    return found


def measured(folder: Path) -> list[dict[str, dict[str, float]]]:
    """Round by round, what each way took."""
    path = folder / "rounds.json"
    rounds: list[dict[str, dict[str, float]]] = json.loads(path.read_text()) if path.exists() else []
    for number in range(ROUNDS):
        if number == len(rounds):
            rounds.append({})
        for way in [PEER, *WAYS, PEER_BF16]:
            if way not in rounds[number]:
                rounds[number][way] = measure(way, folder)
                path.write_text(json.dumps(rounds, indent=1))
                print(f"\n{number} {way}: {rounds[number][way]}", end="", flush=True)
    return rounds


def with_mixture(taken: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Also the mixture, whose steps are of two kinds that were measured."""
    full, batch = taken["full, bf16"], taken["batch, bf16"]
    mixed = {unit: FULL_SHARE * full[unit] + (1 - FULL_SHARE) * batch[unit] for unit in ("wall", "processor")}
    return {**taken, MIXED: {**mixed, "gigabytes": full["gigabytes"]}}


def test_training_on_short_utterances(tmp_path: Path) -> None:
    folder_of(WHISPER)
    folder = Path(os.environ.get("RAYWCE_SHORT", tmp_path))
    if not (folder / "prepared").exists():
        prepare_speech(folder / "prepared")
    rounds = [with_mixture(one) for one in measured(folder)]
    ratios: dict[str, float] = {}
    print(f"\n\n{'':38}{'samples/s':>10}{'× peer':>8}{'× peer, processor time':>24}{'peak GB':>9}")
    for way in [PEER, *WAYS, MIXED, PEER_BF16]:
        wall, ratios[way] = (
            median(one[PEER][unit] / one[way][unit] for one in rounds) for unit in ("wall", "processor")
        )
        speed = median(BATCH_SIZE / one[way]["wall"] for one in rounds)
        memory = median(one[way]["gigabytes"] for one in rounds)
        print(f"{way:38}{speed:10.3f}{wall:8.2f}{ratios[way]:24.2f}{memory:9.1f}")
    # Of processor time: other work on the machine does not count.
    assert ratios["batch, bf16"] >= 8
    assert ratios["batch, fp32"] >= 4
    assert ratios["full, fp32"] >= 0.97
