"""Evaluation beside that of another checkout of this project, in turns; run with -m benchmark -s.

`RAYWCE_BEFORE` names the other checkout's folder, `RAYWCE_PREPARED` a folder that `raywce prepare` wrote. Each decodes
in a process of its own; compared are the time and the processor's time, from opening the data to the table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq
import pytest

from tests.speech import WHISPER, folder_of

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(2 * 3600)]

ROUNDS, BATCH = 3, 16
WAYS = {("batch", "fp32"): 120, ("batch", "bf16"): 120, ("full", "fp32"): 24}  # and how many clips
DECODE = """
import json, sys, time
from pathlib import Path
from raywce.evaluation.evaluate import Evaluation, evaluate
from raywce.evaluation.settings import DecodeSettings
given = json.loads(sys.argv[1])
settings, paths = DecodeSettings(**given["settings"]), {name: Path(given[name]) for name in ("cache", "out")}
evaluation = Evaluation(given["model"], given["data"], "dev", tuple(given["languages"]), paths["cache"], settings)
began = [clock() for clock in (time.perf_counter, time.process_time)]
table = evaluate(evaluation)
seconds = [clock() - start for clock, start in zip((time.perf_counter, time.process_time), began)]
paths["out"].write_text(json.dumps([*seconds, dict(zip(table["id"].to_pylist(), table["hypothesis"].to_pylist()))]))
"""


def named(variable: str) -> Path:
    """The folder that an environment variable names; skips the test where it names none."""
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    return Path(value).resolve()


def sample(prepared: Path, clips: int, out: Path) -> list[str]:
    """Write a part of dev, short and long clips of all languages; return the languages."""
    files = {folder.name: sorted(folder.glob("*.parquet")) for folder in sorted((prepared / "dev").iterdir())}
    tables = {language: pq.read_table(those).sort_by("duration") for language, those in files.items()}
    total = sum(map(len, tables.values()))
    for language, table in tables.items():
        count = max(1, round(clips * len(table) / total))
        target = out / "dev" / language
        target.mkdir(parents=True)
        pq.write_table(table.take([len(table) * place // count for place in range(count)]), target / "0.parquet")
    return list(tables)


def test_evaluation_beside_that_of_another_checkout(tmp_path: Path) -> None:
    before, prepared, whisper = named("RAYWCE_BEFORE"), named("RAYWCE_PREPARED"), folder_of(WHISPER)
    checkouts = {"before": before, "now": Path(__file__).parents[2]}
    print(f"\n{'context':9}{'precision':11}{'clips':>6}{'before, s':>11}{'now, s':>9}{'ratio':>8}", end="")
    print(f"{'of processor time':>19}{'other texts':>13}")
    for (context, precision), clips in WAYS.items():
        data = tmp_path / f"{context}-{precision}"
        given = {"model": str(whisper), "data": str(data), "languages": sample(prepared, clips, data)}
        given |= {"cache": str(tmp_path / "cache"), "out": str(tmp_path / "out.json")}
        given |= {"settings": {"batch_size": BATCH, "precision": precision, "encoder_context": context}}
        seconds: dict[str, list[float]] = {name: [] for name in checkouts}
        processor: dict[str, list[float]] = {name: [] for name in checkouts}
        texts: dict[str, dict[str, str]] = {}
        for _ in range(ROUNDS):
            for name, folder in checkouts.items():
                environment = os.environ | {"PYTHONPATH": str(folder)}
                subprocess.run(
                    [sys.executable, "-c", DECODE, json.dumps(given)], env=environment, cwd=folder, check=True
                )
                taken, busy, texts[name] = json.loads((tmp_path / "out.json").read_text())
                seconds[name].append(taken)
                processor[name].append(busy)
        ratio, of_processor = (
            median(old / new for old, new in zip(of["before"], of["now"], strict=True)) for of in (seconds, processor)
        )
        others = sum(texts["before"][key] != text for key, text in texts["now"].items())
        old, new = median(seconds["before"]), median(seconds["now"])
        print(f"{context:9}{precision:11}{len(texts['now']):6}{old:11.1f}{new:9.1f}{ratio:8.2f}", end="")
        print(f"{of_processor:19.2f}{others:13}", flush=True)
        assert precision != "fp32" or others == 0
