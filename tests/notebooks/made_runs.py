"""Run folders as searches leave them, by the search's own writers, around word errors from a formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raywce.evaluation.rates import rates_by_language
from raywce.evaluation.utterances import score, to_table
from raywce.experiment.load import ExperimentFile
from raywce.runs.folder import RunFolder
from raywce.runs.json_files import write_outcome
from raywce.runs.tables import Trial, TrialTable, write_utterances
from raywce.search.confirm import candidates, judged, runs, wanting_more, with_tests
from raywce.search.driver import Driver, Run
from raywce.search.held_out import decoded_tests, files_of
from raywce.selection.comparison import looks_of
from raywce.selection.limits import limits
from raywce.selection.outcome import Confirmation, outcome, references
from raywce.selection.trials import BASELINE, COMPLETE, CONFIRM, FAIL, SEARCH
from raywce.trial_report import Report

_WORDS = ["the", "pharmacy", "is", "far", "from", "the", "station", "and", "the", "road", "is", "long", "today"]
_UTTERANCES, _SPEAKERS = 24, 8


def made_run(file: ExperimentFile, failing: int | None = None) -> Path:
    """A finished search's folder: its grid, or its published points; with a confirm phase where the file asks for one.

    Args:
        file: the experiment, with a constant alpha.
        failing: the index of a trial that fails half-way.
    """
    run = _Made(file)
    search = file.experiment.search
    for seed in range(search.baseline_seeds):
        run.train(BASELINE, Run(f"{BASELINE}-{seed}", seed_index=seed, evaluates_original=seed == 0))
    against = references(run.table, file.experiment)
    bounds = limits(search.constraints, against.limits)
    run.driver = replace(run.driver, limits=bounds, baseline=against.baseline)
    points = file.settings() if search.sampler == "grid" else file.published_points()
    settings = [(values, seed) for seed in range(search.seeds) for values in points]
    for index, (values, seed) in enumerate(settings):
        state = FAIL if index == failing else COMPLETE
        run.train(SEARCH, Run(f"search-{index:03d}", values, seed_index=seed), state)
    found = outcome(run.table, file.experiment, {})
    if search.confirm.candidates:
        found = replace(found, confirmation=run.confirm())
    else:
        write_utterances(run.folder, run.table)
    run.table.write(run.folder)
    write_outcome(run.folder, found)
    assert run.folder.local
    return run.folder.local


class _Made:
    def __init__(self, file: ExperimentFile) -> None:
        self.file, self.experiment = file, file.experiment
        self.folder = RunFolder.of(self.experiment.storage, self.experiment.name)
        self.folder.open(file.resolved_yaml())
        self.table = TrialTable(file.space, file.experiment.languages)
        self.driver = Driver(file, "", lambda *_: None)

    def train(self, phase: str, run: Run, state: str = COMPLETE) -> None:
        """A report half-way, and where the training does not fail a last one with what it decoded."""
        values = dict.fromkeys(self.file.space) if run.values is None else run.values
        trial = Trial(phase, run.trial_id, run.seed_index, values, run.candidate)
        steps = self.experiment.training.steps
        if run.evaluates_original:
            self.table.record(trial, self._evaluated(run, 0, 0.0, phase))
        alpha = self._alpha(run)
        languages = self.experiment.languages
        trained = {"alpha": dict.fromkeys(languages.low_resource, alpha), "loss": dict.fromkeys(languages.all, 1.0)}
        self.table.record(trial, Report(steps // 2, **trained))
        if state == COMPLETE:
            self.table.record(trial, replace(self._evaluated(run, steps, alpha, phase), **trained))
        self.table.finish(trial, state, "no memory" if state == FAIL else None)

    def confirm(self) -> Confirmation:
        """As the confirm phase does, with the test split."""
        chosen, looks = candidates(self.file, self.table), looks_of(self.experiment)
        wanted = runs(chosen, self.file, range(looks.first))
        for run in wanted:
            self.train(CONFIRM, run)
        if more := wanting_more(self.table, chosen, self.experiment, wanted):
            for run in runs(more, self.file, range(looks.first, looks.trainings), wanted[0].seed_index):
                self.train(CONFIRM, run)
        found = judged(self.table, chosen, self.experiment)
        winner = found.choice.winner
        if winner is None:
            write_utterances(self.folder, self.table)
            return replace(found, closed="closed")
        files = files_of(self.folder, self.table, self.experiment, winner)
        for index, file in enumerate(files):
            rates = dict.fromkeys(self.experiment.languages.all, 0.3 + 0.01 * index)
            self.folder.write_table(file.uri.removeprefix(f"{self.folder.uri}/"), _decoded(rates, index))
        write_utterances(self.folder, self.table, files)
        return with_tests(found, decoded_tests(files, self.table, winner), self.experiment)

    def _alpha(self, run: Run) -> float:
        return float(getattr(self.driver.experiment(run).weighting, "alpha", 1.0))

    def _evaluated(self, run: Run, step: int, alpha: float, phase: str) -> Report:
        languages = self.experiment.languages
        rates = dict.fromkeys(languages.low_resource, 0.6 - 0.06 * alpha)
        rates |= dict.fromkeys(languages.high_resource, 0.1 + 0.01 * alpha)
        name = f"trials/{run.trial_id}/utterances-{step}.parquet"
        table = _decoded(rates, run.seed_index)
        self.folder.write_table(name, table)
        final = step == self.experiment.training.steps
        report: dict[str, Any] = {"step": step, "final": final, "utterances": self.folder.path(name)}
        for language, found in rates_by_language(table).items():
            rates = ("wer_raw", "wer_normalized", "cer_raw", "cer_normalized")
            report |= {f"{rate}/{language}": getattr(found, rate) for rate in rates}
            report |= {f"wer/{language}": found.wer_normalized, f"cer/{language}": found.cer_normalized}
        made = Report.of(report)
        return self.driver.judged(made) if phase == SEARCH else made


def _decoded(rates: Mapping[str, float], seed: int) -> pa.Table:
    """For each language, utterances of which about that share of words is misheard; the seed says which."""
    rows = []
    for language, rate in rates.items():
        random = np.random.default_rng([seed, *language.encode()])
        for index in range(_UTTERANCES):
            words = _WORDS[index % 4 :]
            heard = [
                "eh" if misheard else word
                for word, misheard in zip(words, random.random(len(words)) < rate, strict=True)
            ]
            row = score(
                id=f"{language}-{index:03d}",
                language=language,
                language_token=language,
                speaker=f"{language}-{index % _SPEAKERS}",
                duration=0.3 * len(words),
                reference=" ".join(words),
                hypothesis=" ".join(heard),
                normalizer="words",
                detected_language=None,
                truncated=False,
            )
            rows.append(row)
    return to_table(rows)
