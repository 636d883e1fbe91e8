"""Which gate the searched weighting should have: the same random settings trained with each, in turns.

python -m tests.benchmarks.weighting_gates EXPERIMENT.yaml FOLDER --settings 12 [KEY=VALUE …]

A setting is drawn once: the two ends of alpha, its ramp, and how much of the loss ratio r is let in. A gate makes a
weight of it:

* switch: as published, for half of the settings; r is let in as a whole, or not at all.
* capped switch: the same, with r at most `ratio_cap`.
* smooth: alpha * r^gamma where that is above 1, else 1.

Each is trained over two seeds. Reported for each gate: how many of the settings are distinct trainings, and what a
search over eight of them would choose. It chooses by one seed and the search's part of dev, within the limits; its
low-resource WER is that of the other seed on the part kept back. The mean is over both orders of the seeds and over
draws of eight settings; the interval is a bootstrap over settings. What was trained is not trained again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raywce.data.dev_split import in_part
from raywce.demo.generate import provide_speech
from raywce.evaluation.rates import rates_by_language
from raywce.experiment.load import load
from raywce.experiment.schema import Experiment
from raywce.selection.limits import limits
from raywce.trial_report import Report
from raywce.weighting import AlphaSchedule

GATES = ("switch", "capped switch", "smooth")
SEEDS, OF_A_SEARCH, DRAWS, RESAMPLES = (0, 1), 8, 200, 500
LARGEST_ALPHA, LARGEST_CAP = 8.0, 10.0


@dataclass(frozen=True)
class Setting:
    """What all gates make their weight of; `ratio` is the share of the loss ratio that is let in, 0 to 1."""

    alpha_initial: float
    alpha_final: float
    ramp_start: float
    ramp_fraction: float
    ratio: float

    def schedule(self, gate: str) -> AlphaSchedule:
        ramp = (self.alpha_initial, self.alpha_final, self.ramp_start, self.ramp_fraction)
        if gate == "smooth":
            return SmoothSchedule(*ramp, adaptive=True, gamma=self.ratio)
        # Of the upper half, the rest is where the cap lies.
        cap = 1 + (LARGEST_CAP - 1) * max(0.0, 2 * self.ratio - 1) if gate == "capped switch" else None
        return AlphaSchedule(*ramp, adaptive=self.ratio >= 0.5, ratio_cap=cap)


@dataclass(frozen=True)
class SmoothSchedule(AlphaSchedule):
    """A weight that follows the loss ratio as far as `gamma` says."""

    gamma: float = 0.0

    def in_force(self, step: int, max_steps: int, ratio: float | None) -> float:
        alpha = self.alpha(step, max_steps)
        if step / max_steps < self.ramp_start:
            return alpha
        return 1.0 if ratio is None else max(1.0, alpha * ratio**self.gamma)


def drawn(count: int) -> list[Setting]:
    random = np.random.default_rng(0)
    return [
        Setting(*(1 + (LARGEST_ALPHA - 1) * random.random(2)), 0.75 * random.random(), *random.random(2))
        for _ in range(count)
    ]


def train(experiment: Experiment, folder: Path, schedule: AlphaSchedule) -> None:
    """Train in this process, as a worker does; leave what was decoded of dev, and each step's ratio and weight."""
    from raywce.training.loop import train_worker
    from tests.training.session import Session

    folder.mkdir(parents=True, exist_ok=True)
    session = Session(folder)
    with patch.object(Experiment, "schedules", lambda self: dict.fromkeys(self.languages.low_resource, schedule)):
        train_worker({"experiment": experiment.model_dump(), "folder": str(folder)}, session)
    reports = [Report.of(one) for one in session.reports]
    assert reports[-1].utterances, reports[-1].failure
    ratios = [ratio for report in reports for ratio in report.ratios]
    weights = [schedule.in_force(step, experiment.training.steps, ratio) for step, ratio in enumerate(ratios)]
    pq.write_table(pq.read_table(reports[-1].utterances), folder / "dev.parquet")
    for name in session.saved:
        shutil.rmtree(folder / name)
    (folder / "weights.json").write_text(json.dumps({"ratios": ratios, "weights": weights}))


def training_name(schedule: AlphaSchedule, seed: int) -> str:
    """The same for gates that make the same weight of a setting: it is trained once."""
    told = replace(schedule, ratio_cap=None) if not schedule.adaptive else schedule
    return f"{hashlib.sha256(repr(told).encode()).hexdigest()[:12]}-{seed}"


def wers(table: pa.Table, experiment: Experiment, part: Any) -> dict[str, float]:
    """Of one part of dev, by the experiment's metric."""
    found = {}
    for language in experiment.languages.decoded:
        own = table.filter(pc.equal(table["language"], language))
        share = experiment.search.confirm.dev_share
        rows = own.take(in_part(part, share, own["id"].to_pylist(), own["speaker"].to_pylist()))
        found[language] = getattr(rates_by_language(rows)[language], experiment.metrics.of(language).field)
    return found


@dataclass(frozen=True)
class Trained:
    """One gate's settings: WERs (settings, seeds) of the search's part and of the other, and which keep the limits."""

    seen: np.ndarray
    kept_back: np.ndarray
    feasible: np.ndarray
    distinct: int

    def chosen(self, random: np.random.Generator, settings: np.ndarray) -> float:
        """The mean WER of what searches over draws from these settings choose; NaN where none is feasible."""
        found = []
        for _ in range(DRAWS):
            some = random.choice(settings, min(OF_A_SEARCH, len(settings)), replace=False)
            for seed in SEEDS:
                allowed = some[self.feasible[some, seed]]
                if len(allowed):
                    best = allowed[np.argmin(self.seen[allowed, seed])]
                    found.append(self.kept_back[best, 1 - seed])
        return float(np.mean(found)) if found else float("nan")


def measured(gate: str, experiment: Experiment, folder: Path, settings: Sequence[Setting]) -> Trained:
    low, count = experiment.languages.low_resource, len(settings)

    def figures(name: str) -> tuple[dict[str, float], dict[str, float]]:
        table = pq.read_table(folder / name / "dev.parquet")
        return wers(table, experiment, "search"), wers(table, experiment, "confirm")

    baselines = [figures(training_name(AlphaSchedule(), seed))[0] for seed in SEEDS]
    against = {of: float(np.mean([one[of] for one in baselines])) for of in experiment.limited_languages}
    allowed = limits(experiment.search.constraints, against)
    seen, kept_back, feasible = (np.zeros((count, len(SEEDS))) for _ in range(3))
    weights = set()
    for index, setting in enumerate(settings):
        names = [training_name(setting.schedule(gate), seed) for seed in SEEDS]
        for seed, name in zip(SEEDS, names, strict=True):
            of_search, of_rest = figures(name)
            seen[index, seed] = np.mean([of_search[of] for of in low])
            kept_back[index, seed] = np.mean([of_rest[of] for of in low])
            feasible[index, seed] = all(limit.violation(of_search[of]) <= 0 for of, limit in allowed.items())
        read = json.loads((folder / names[0] / "weights.json").read_text())
        weights.add(tuple(read["weights"]))
    return Trained(seen, kept_back, feasible.astype(bool), len(weights))


def main(arguments: Sequence[str]) -> None:
    """Train what is missing, two at once, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("experiment", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--settings", type=int, default=12)
    given = parser.parse_intermixed_args(arguments)
    plain = ["weighting={kind: none}", "data.sampling.both_kinds=true", "search.confirm.candidates=3"]
    alone = ["resources.workers=1", "resources.cpus_per_worker=1"]
    experiment = load(given.experiment, [*given.overrides, *plain, *alone]).experiment
    provide_speech(Path(experiment.data.folder))
    settings, missing = drawn(given.settings), {}
    schedules = [AlphaSchedule(), *(setting.schedule(gate) for setting in settings for gate in GATES)]
    for schedule in schedules:
        for seed in SEEDS:
            name = training_name(schedule, seed)
            if not (given.folder / name / "weights.json").exists():
                training = experiment.training.model_copy(update={"seed": experiment.training.seed + seed})
                missing[name] = experiment.model_copy(update={"training": training}), given.folder / name, schedule
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for number, _ in enumerate(pool.map(train, *zip(*missing.values(), strict=True)) if missing else (), 1):
            print(f"{number} of {len(missing)} trained", file=sys.stderr)
    show({gate: measured(gate, experiment, given.folder, settings) for gate in GATES}, settings, given.folder)


def show(found: Mapping[str, Trained], settings: Sequence[Setting], folder: Path) -> None:
    """Print a row for each gate; differences are to the first one, over the same draws."""
    everything = np.arange(len(settings))
    resampled = np.random.default_rng(1).choice(everything, (RESAMPLES, len(settings)))
    first: np.ndarray | None = None
    print(
        f"{'gate':15}{'distinct':>10}{'feasible':>10}{'WER of the chosen':>20}{'difference':>12}{'95 % interval':>20}"
    )
    for gate, trained in found.items():
        value = trained.chosen(np.random.default_rng(2), everything)
        again = np.array([trained.chosen(np.random.default_rng(2), some) for some in resampled])
        first = again if first is None else first
        low, high = np.nanquantile(100 * (again - first), [0.025, 0.975])
        difference = 100 * float(np.nanmean(again - first))
        share = f"{trained.feasible.mean():.0%}"
        interval = f"{low:+.2f} to {high:+.2f}"
        print(f"{gate:15}{trained.distinct:>10}{share:>10}{100 * value:>20.2f}{difference:>+12.2f}{interval:>20}")
    (folder / "settings.json").write_text(json.dumps([asdict(setting) for setting in settings], indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
