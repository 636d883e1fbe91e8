"""Run folders as searches leave them, with figures that were made up and one small checkpoint for all trials."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from raywce.experiment.load import ExperimentFile
from raywce.runs.folder import RunFolder
from raywce.runs.json_files import read_outcome, write_outcome
from raywce.runs.tables import Trial, TrialTable
from raywce.selection.averages import AverageTables, compared_averages, judge_average
from raywce.selection.candidates import Candidate, Known
from raywce.selection.comparison import Decoded, choose, compare, side_by_side
from raywce.selection.outcome import Confirmation, SearchOutcome, outcome
from raywce.selection.trials import BASELINE, COMPLETE, CONFIRM, SEARCH
from raywce.training.checkpoint import STATE_FILE
from raywce.trial_report import Report
from tests.search import surrogate
from tests.search.decoded_tables import decoded

STEPS = 20
PLAIN = 0.01  # what a plain WER has above the capped one
BASE = {"gl": 0.50, "es": 0.20, "pt": 0.19}
WATCHED = {"it": 0.30}
SEEDS = (1, 2, 3)
WINNER = "candidate-1"


@dataclass
class SearchRun:
    """A search of two trials, the second the better one; `violation` points above (below: negative) every limit."""

    folder: RunFolder
    file: ExperimentFile
    table: TrialTable

    @classmethod
    def write(
        cls,
        tmp_path: Path,
        checkpoint: Path,
        violation: float = -1.0,
        confirm: bool = False,
        watched: bool = False,
        metric: str = "wer_normalized",
    ) -> SearchRun:
        """Write the folder; with a confirm phase, its setting is trained again over three seeds."""
        tmp_path.mkdir(parents=True, exist_ok=True)
        overrides = [f"evaluation.metric={metric}", *(["languages.watched=[it]"] if watched else [])]
        file = surrogate.load_file(
            tmp_path, *overrides, confirm={"candidates": 1 if confirm else 0, "seeds": 3, "resamples": 200}
        )
        folder = RunFolder.of(file.experiment.storage, file.experiment.name)
        run = cls(folder, file, TrialTable(file.space, file.experiment.languages))
        folder.open(file.resolved_yaml())
        run.add(Trial(BASELINE, "baseline-0", 0, {}), BASE, checkpoint, original=surrogate.ORIGINAL)
        for number, gl in enumerate((0.45, 0.40)):
            values = {"weighting.alpha": 2.0 + number, "training.optimizer.learning_rate": 1e-5}
            run.add(Trial(SEARCH, f"search-{number}", 0, values), {**BASE, "gl": gl}, checkpoint, violation=violation)
        result = outcome(run.table, file.experiment, {})
        if confirm:
            result = replace(result, confirmation=run.confirmed(checkpoint))
        run.table.write(folder)
        write_outcome(folder, result)
        return run

    def add(
        self,
        trial: Trial,
        wers: dict[str, float],
        checkpoint: Path,
        original: dict[str, float] | None = None,
        violation: float | None = None,
    ) -> None:
        """A complete trial with its checkpoint."""
        if original:
            rates = original | self.watched
            before = {f"wer/{name}": wer for name, wer in rates.items()}
            before |= {f"cer/{name}": wer / 2 for name, wer in rates.items()}
            self.table.record(trial, Report.of({"step": 0, **before}))
        figures = {}
        for unit, share in (("wer", 1.0), ("cer", 0.5)):
            rates = {name: share * wer for name, wer in (wers | self.watched).items()}
            figures |= {f"{unit}/{name}": rate for name, rate in rates.items()}
            figures |= {f"{unit}_normalized/{name}": rate + PLAIN for name, rate in rates.items()}
        figures |= {f"utterances_seen/{name}": 7.0 for name in wers}
        if violation is not None:
            figures |= {"objective": wers["gl"], "feasible": violation <= 0, "violation": violation}
            figures |= {"violation/es": violation, "violation/pt": violation}
        self.table.record(trial, Report.of({"step": STEPS, "final": True, **figures}))
        self.table.finish(trial, COMPLETE)
        target = Path(self.folder.path("trials", trial.trial_id, f"step-{STEPS:08d}"))
        shutil.copytree(checkpoint, target)
        torch.save({"step": STEPS}, target / STATE_FILE)

    def confirmed(self, checkpoint: Path) -> Confirmation:
        """A confirm phase with one candidate, and a test split two points worse than dev."""
        values = {"weighting.alpha": 3.0, "training.optimizer.learning_rate": 1e-5}
        better = {"gl": 0.35, "es": 0.10, "pt": 0.10}
        for seed in SEEDS:
            trial = Trial(CONFIRM, f"confirm-baseline-{seed}", seed, {}, BASELINE)
            self.add(trial, BASE, checkpoint, original=surrogate.ORIGINAL if seed == 1 else None)
            self.add(Trial(CONFIRM, f"confirm-{WINNER}-{seed}", seed, values, WINNER), better, checkpoint)
        dev, test = (self._decoded(better, more) for more in (0.0, 0.02))
        for seed, table in zip(SEEDS, test.candidates[WINNER], strict=True):
            path = Path(self.folder.path("test", "test", f"confirm-{WINNER}-{seed}.parquet"))
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path)
        experiment = self.file.experiment
        figures = [compare(of, side_by_side(of, experiment), experiment) for of in (dev, test)]
        known = Known([-0.09, -0.08, -0.15], [1e-4] * 3, [True] * 3)
        candidates = {WINNER: Candidate(WINNER, values, 0.9, with_model=False, known=known)}
        choice = choose(dev, side_by_side(dev, experiment), experiment, candidates)
        return Confirmation(figures[0], choice, {WINNER: values}, {}, {"test": figures[1]}, None)

    def average(self, confirmed: bool = True) -> None:
        """Judge the average of the winner's trainings too: five points better than those, or no better than BASE."""
        better = {"gl": 0.30, "es": 0.09, "pt": 0.09} if confirmed else BASE

        def of(rates: dict[str, float], more: float = 0.0) -> list[pa.Table]:
            rates = {name: wer + more for name, wer in (rates | self.watched).items()}
            return [decoded(rates, seed) for seed in range(1 + len(SEEDS))]

        experiment, original = self.file.experiment, decoded(surrogate.ORIGINAL | self.watched)
        trainings = [decoded(BASE | self.watched, seed) for seed in SEEDS]
        tables = AverageTables(original, (of(BASE), of(better)), trainings)
        found = judge_average(tables, WINNER, 1, experiment)
        test = [of(BASE, 0.02)[0], of(better, 0.02)[0]]
        self.folder.write_table(f"averages/average-{WINNER}.parquet", tables.averages[1][0])
        self.folder.write_table(f"test/test/average-{WINNER}.parquet", test[1])
        found = replace(found, tests={"test": compared_averages(original, *test, found, experiment)})
        assert found.confirmed is confirmed

        def changed(outcome: SearchOutcome) -> SearchOutcome:
            assert outcome.confirmation
            return replace(outcome, confirmation=replace(outcome.confirmation, averaged=found))

        self.change_outcome(changed)

    @property
    def watched(self) -> dict[str, float]:
        """The WER of the watched language in every model; empty where none is watched."""
        return WATCHED if self.file.experiment.languages.watched else {}

    def _decoded(self, better: dict[str, float], more: float) -> Decoded:
        def over(rates: dict[str, float], seeds: Sequence[int]) -> list:  # type: ignore[type-arg]
            return [decoded({name: wer + more for name, wer in (rates | self.watched).items()}, seed) for seed in seeds]

        return Decoded(over(surrogate.ORIGINAL, [0])[0], over(BASE, SEEDS), {WINNER: over(better, SEEDS)})

    def change_outcome(self, change: Callable[[SearchOutcome], SearchOutcome]) -> None:
        """Put another outcome in the place of the stored one."""
        stored = read_outcome(self.folder)
        assert stored is not None
        write_outcome(self.folder, change(stored))
