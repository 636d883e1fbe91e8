"""Run folders as searches leave them, written by the search's own writers around figures from a formula."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from raywce.evaluation.rates import rates_by_language
from raywce.evaluation.utterances import score, to_table
from raywce.experiment.load import ExperimentFile, load
from raywce.runs.folder import RunFolder
from raywce.runs.json_files import write_outcome
from raywce.runs.tables import TestFile, Trial, TrialTable, write_utterances
from raywce.search.confirm import candidates, judged, runs, wanting_more, with_tests
from raywce.search.driver import Driver, Run
from raywce.search.held_out import decoded_tests
from raywce.search.searcher import suggestion_id
from raywce.selection.averages import Averaged, AverageTables, average_name, compared_averages, judge_average
from raywce.selection.comparison import Decoded, looks_of
from raywce.selection.limits import limits
from raywce.selection.outcome import Confirmation, SearchOutcome, outcome, references
from raywce.selection.robustness import figures as robustness_figures
from raywce.selection.robustness import measures
from raywce.selection.trials import BASELINE, COMPLETE, CONFIRM, FAIL, ORIGINAL, PRUNED, SEARCH
from raywce.trial_report import Report

HOSTILE = '<script>window.hurt = true</script> & "quoted" <img src=x onerror=alert(1)>'
STEPS, EVERY = 40, 20
ORIGINAL_RATES = {"gl": 0.75, "es": 0.10, "pt": 0.12}
WATCHED_RATES = {"it": 0.15}
WITHOUT_SPACES = {"zh": 0.40}
_WORDS = {
    "gl": ["hoxe", "o", "meu", "amigo", "está", "no", "xardín", "coa", "avoa", "e", "mañá", "vai", "á", "praia"],
    "es": ["mañana", "vamos", "a", "la", "playa", "con", "los", "niños", "y", "después", "a", "casa"],
    "pt": ["o", "comboio", "parte", "às", "nove", "e", "chega", "depois", "do", "almoço", "à", "cidade"],
    "zh": [*"今天气很好我们去公园看花他昨买"],
    "it": ["domani", "andiamo", "al", "mare", "con", "i", "bambini", "e", "poi", "a", "casa"],
}
_UTTERANCES, _SPEAKERS = 24, 12


def write_file(folder: Path, *overrides: str, **search: Any) -> ExperimentFile:
    """A search over the alpha family, the augmentation's strength and an optimizer leaf."""
    tree = {
        "name": "made",
        "model": {"checkpoint": "openai/whisper-tiny"},
        "data": {"folder": str(folder / "speech")},
        "languages": {"low_resource": ["gl"], "high_resource": ["es", "pt"]},
        "weighting": {
            "kind": "family",
            "alpha_initial": {"uniform": [1, 6]},
            "alpha_final": {"uniform": [1, 8]},
            "ramp_start": {"uniform": [0, 0.75]},
            "ramp_fraction": {"uniform": [0, 1]},
            "adaptive": {"choice": [False, True]},
        },
        "augmentation": {"white_noise": {"probability": 0.5, "amplitude": {"uniform": [0.001, 0.02]}}},
        "training": {
            "steps": STEPS,
            "evaluate_every": EVERY,
            "optimizer": {"learning_rate": {"loguniform": [1e-6, 1e-3]}},
        },
        "search": {
            "trials": 10,
            "baseline": {"training.optimizer.learning_rate": 1e-5},
            "baseline_seeds": 2,
            "constraints": {"absolute_floor": 3.0, "languages": {"pt": {"absolute_floor": 4.0}}},
            "confirm": {"candidates": 0, "resamples": 200},
            **search,
        },
        "storage": str(folder / "runs"),
    }
    file = folder / "made.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    return load(file, overrides, check_files=False)


class MadeRun:
    """A run folder in the making, phase by phase."""

    def __init__(self, file: ExperimentFile) -> None:
        self.file, self.experiment = file, file.experiment
        self.folder = RunFolder.of(self.experiment.storage, self.experiment.name)
        self.folder.open(file.resolved_yaml())
        self.space = file.optuna_space
        known = ORIGINAL_RATES | WATCHED_RATES | WITHOUT_SPACES
        self.original = {name: known[name] for name in self.experiment.languages.decoded}
        self.table = TrialTable(file.space, self.experiment.languages)
        self.driver = Driver(file, "", lambda *_: None)

    def baseline(self, count: int | None = None) -> None:
        """Its seeds, or so many; the first also has the original."""
        for seed in range(count or self.experiment.search.baseline_seeds):
            self._train(BASELINE, Run(f"{BASELINE}-{seed}", seed_index=seed, evaluates_original=seed == 0))
        self._write()

    def search(self, count: int | None = None, fails: int | None = 3, pruned: int | None = 4) -> None:
        """So many trials: the published points, then some at random."""
        against = references(self.table, self.experiment)
        bounds = limits(self.experiment.search.constraints, against.limits)
        self.driver = replace(self.driver, limits=bounds, baseline=against.baseline)
        for index, (values, seed) in enumerate(self._settings(count or self.experiment.search.trials or 0)):
            run = Run(suggestion_id(index, values, seed), values, seed_index=seed)
            self._train(SEARCH, run, FAIL if index == fails else PRUNED if index == pruned else COMPLETE)
        self._write()

    def confirm(self, opened: bool = True) -> Confirmation:
        """As the confirm phase does."""
        chosen, looks = candidates(self.file, self.table), looks_of(self.experiment)
        wanted = runs(chosen, self.file, range(looks.first))
        for run in wanted:
            self._train(CONFIRM, run)
        more = wanting_more(self.table, chosen, self.experiment, wanted)
        begun = wanted[0].seed_index
        for run in runs(more, self.file, range(looks.first, looks.trainings), begun) if more else []:
            self._train(CONFIRM, run)
        found = judged(self.table, chosen, self.experiment)
        winner = found.choice.winner
        if winner:
            found = replace(found, averaged=self._averaged(winner, found.choice.claims[winner].seeds, len(chosen)))
        if not (winner and opened):
            self._write()
            return replace(found, closed="no candidate is confirmed")
        found = with_tests(found, self._tests(winner), self.experiment)
        assert found.averaged
        original, baseline, average = (decode(rates, f"test {rates['gl']}") for rates in self._rates_of(winner))
        test = compared_averages(original, baseline, average, found.averaged, self.experiment)
        found = replace(found, averaged=replace(found.averaged, tests={"test": test}))
        tables = {ORIGINAL: original, average_name(BASELINE): baseline, average_name(winner): average}
        models = {name: measures(of, None) for name, of in tables.items()}
        robust = robustness_figures(models, self.experiment.search.constraints.robustness, ["gl"])
        return replace(found, robustness=robust)

    def outcome(self, confirmation: Confirmation | None = None) -> SearchOutcome:
        """Judged and written."""
        tables = {"trials": self.folder.path("trials.parquet")}
        judged = replace(outcome(self.table, self.experiment, tables), choice="Sampler gp: as made.")
        judged = replace(judged, confirmation=confirmation)
        write_outcome(self.folder, judged)
        self.folder.write_text("search_clock.json", json.dumps({"seconds": 1234.5}))
        return judged

    def _rates_of(self, winner: str) -> tuple[dict[str, float], ...]:
        """True rates of the original, the baseline and the winner."""
        rows = {row["candidate"]: row for row in self.table.last_rows(CONFIRM)}
        return (self.original, *(self._rates(self._run_of(rows[name]), STEPS) for name in (BASELINE, winner)))

    def _averaged(self, winner: str, seeds: int, candidates: int) -> Averaged:
        """Averages that are as good as their trainings."""
        original, baseline, average = self._rates_of(winner)
        averages = [[decode(of, f"average {of['gl']} {n}") for n in range(1 + seeds)] for of in (baseline, average)]
        trainings = [decode(baseline, f"training {n}") for n in range(seeds)]
        tables = AverageTables(decode(original, "original"), (averages[0], averages[1]), trainings)
        return judge_average(tables, winner, candidates, self.experiment)

    def _tests(self, winner: str) -> dict[str, Decoded]:
        models = [ORIGINAL, *(one for one in self.table.trial_ids(CONFIRM) if f"-{BASELINE}-" in one or winner in one)]
        files = [TestFile("test", model, self.folder.path("test", "test", f"{model}.parquet")) for model in models]
        for file in files:
            kind = {"candidate": BASELINE} if file.model == ORIGINAL else self.table.of(file.model)[-1]
            rates = self.original if file.model == ORIGINAL else self._rates(self._run_of(kind), STEPS)
            self.folder.write_table(f"test/test/{file.model}.parquet", decode(rates, f"test {file.model}"))
        write_utterances(self.folder, self.table, files)
        self.table.write(self.folder)
        return decoded_tests(files, self.table, winner)

    def _run_of(self, row: Mapping[str, Any]) -> Run:
        values = {path: row[f"config/{path}"] for path in self.space}
        return Run(row["trial_id"], None if row["candidate"] == BASELINE else values)

    def _settings(self, count: int) -> list[tuple[dict[str, Any], int]]:
        search = self.experiment.search
        if search.sampler == "grid":
            return [(values, seed) for seed in range(search.seeds) for values in self.file.settings()][: count or None]
        random, found = np.random.default_rng(0), self.file.published_points()[:count]
        while len(found) < count:
            drawn = {path: _draw(one, random) for path, one in self.space.items()}
            found.append(drawn)
        return [(values, 0) for values in found]

    def _train(self, phase: str, run: Run, state: str = COMPLETE) -> None:
        fixed = dict.fromkeys(self.space)
        trial = Trial(phase, run.trial_id, run.seed_index, fixed if run.values is None else run.values, run.candidate)
        steps = [0] if run.evaluates_original else []
        steps += list(range(10, 1 + {COMPLETE: STEPS, PRUNED: EVERY, FAIL: 10}[state], 10))
        for step in steps:
            self.table.record(trial, self._report(run, step, phase))
        self.table.finish(trial, state, f"loss is not finite at step 11: {HOSTILE}" if state == FAIL else None)

    def _report(self, run: Run, step: int, phase: str) -> Report:
        report: dict[str, Any] = {"step": step, "final": step == STEPS, "time_s": 2.5 * step, "restarts": 0}
        if step:
            report |= {f"loss/{language}": 2.0 / (1 + step) for language in self.experiment.languages.all}
            schedule = self.driver.experiment(run).schedules()["gl"]
            report["alpha/gl"] = schedule.alpha(step - 1, STEPS)
        if step % EVERY == 0:
            table = decode(self._rates(run, step), f"{run.trial_id} {step}")
            place = self.folder.path("trials", run.trial_id, f"utterances-{step}.parquet")
            self.folder.write_table(f"trials/{run.trial_id}/utterances-{step}.parquet", table)
            report["utterances"] = place
            for language, rates in rates_by_language(table).items():
                for name in ("wer_raw", "wer_normalized", "cer_raw", "cer_normalized"):
                    report[f"{name}/{language}"] = getattr(rates, name)
                report |= {f"wer/{language}": rates.wer_normalized, f"cer/{language}": rates.cer_normalized}
        made = Report.of(report)
        return self.driver.judged(made) if phase == SEARCH else made

    def _rates(self, run: Run, step: int) -> dict[str, float]:
        """gl and zh fall with the mean alpha, the others rise, a watched one most."""
        schedule = self.driver.experiment(run).schedules()["gl"]
        alpha = sum(schedule.alpha(one, STEPS) for one in range(STEPS)) / STEPS
        done = step / STEPS
        end = {"gl": 0.55 - 0.05 * alpha, "es": 0.10 + 0.012 * (alpha - 1), "pt": 0.12 + 0.008 * (alpha - 1)}
        end |= {"it": 0.20 + 0.03 * (alpha - 1), "zh": 0.30 - 0.03 * alpha}
        return {name: start + (end[name] - start) * done for name, start in self.original.items()}

    def _write(self) -> None:
        self.table.write(self.folder)
        write_utterances(self.folder, self.table)


def decode(rates: Mapping[str, float], seed: str) -> pa.Table:
    """Utterances with about so many words wrong: replaced, left out or put in; one hypothesis is hostile."""
    random = np.random.default_rng([*seed.encode()])
    rows = []
    for language, rate in rates.items():
        for index in range(_UTTERANCES):
            said = [_WORDS[language][(3 * index + place) % len(_WORDS[language])] for place in range(9)]
            between = "" if language in WITHOUT_SPACES else " "
            heard = between.join(_misheard(said, rate, random))
            hostile = language == "gl" and index == 0
            rows.append(
                score(
                    id=f"{language}-{index:03d}" + (HOSTILE if hostile else ""),
                    language=language,
                    language_token=language,
                    speaker=f"{language}-{index % _SPEAKERS}",
                    duration=2.0,
                    reference=between.join(said) + (f" {HOSTILE}" if hostile else ""),
                    hypothesis=heard + (f" {seed} {HOSTILE}" if hostile and "baseline" not in seed else ""),
                    normalizer="words",
                    detected_language=language,
                    truncated=False,
                )
            )
    return to_table(rows)


def _misheard(words: Sequence[str], rate: float, random: np.random.Generator) -> list[str]:
    heard = []
    for word in words:
        if random.random() >= rate:
            heard.append(word)
            continue
        kind = random.integers(4)
        heard += [] if kind == 0 else [word, "eh"] if kind == 1 else [word[::-1] + "x"]
    return heard


def _draw(distribution: Any, random: np.random.Generator) -> Any:
    if hasattr(distribution, "choices"):
        return distribution.choices[random.integers(len(distribution.choices))]
    if distribution.log:
        return float(np.exp(random.uniform(np.log(distribution.low), np.log(distribution.high))))
    return float(random.uniform(distribution.low, distribution.high))


def searched(folder: Path, **search: Any) -> MadeRun:
    """A finished search without a confirm phase."""
    made = MadeRun(write_file(folder, **search))
    made.baseline()
    made.search()
    made.outcome()
    return made


def confirmed(folder: Path, *overrides: str, **search: Any) -> MadeRun:
    """A finished search with a confirm phase."""
    confirm = {"candidates": 3, "seeds": 3, "resamples": 200, **search.pop("confirm", {})}
    made = MadeRun(write_file(folder, *overrides, confirm=confirm, **search))
    made.baseline()
    made.search()
    made.outcome(made.confirm())
    return made


def mixed(folder: Path) -> MadeRun:
    """A finished search with a confirm phase over two low-resource languages, judged by a WER and by a CER."""
    languages = "{low_resource: [gl, zh], high_resource: [es, pt]}"
    return confirmed(folder, f"languages={languages}", "evaluation.metric=auto")


FACTORS = {
    "weight": {"plain": {}, "weak": {"weighting.alpha_final": 2.0}, "strong": {"weighting.alpha_final": 5.0}},
    "audio": {"as recorded": {}, HOSTILE: {"augmentation": {"preset": "paper"}}},
}


def grid(folder: Path, factors: Mapping[str, Any] = FACTORS, trials: int | None = None) -> MadeRun:
    """A grid over alphas and augmentation, two seeds each, as the baseline; one level's name is hostile.

    It is finished, or so many trials are.
    """
    search = {"sampler": "grid", "trials": None, "points": "none", "seeds": 2, "baseline": {}}
    fixed = ["weighting={kind: family, alpha_initial: 1, alpha_final: 1}", "augmentation={}", "training.optimizer={}"]
    made = MadeRun(write_file(folder, *fixed, **search, alternatives=factors))
    made.baseline()
    made.search(trials, fails=None, pruned=None)
    if trials is None:
        made.outcome()
    return made
