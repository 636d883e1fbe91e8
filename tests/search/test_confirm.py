from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from raywce.cluster.connect import Cluster
from raywce.errors import RunFailed
from raywce.experiment.load import ExperimentFile, load
from raywce.experiment.schema import Experiment
from raywce.experiment.space import Scalar
from raywce.runs.folder import RunFolder
from raywce.runs.tables import Trial, TrialTable
from raywce.runs.test_openings import EVALUATE, open_test_split, openings
from raywce.screen.outcome import show_outcome
from raywce.search.confirm import candidates, runs, wanting_more
from raywce.search.phases import is_finished, run_search
from raywce.search.task import known_of
from raywce.selection.candidates import Candidate, Known
from raywce.selection.comparison import looks_of
from raywce.selection.outcome import SearchOutcome
from raywce.selection.trials import BASELINE, COMPLETE, FAIL, RUNNING, SEARCH
from raywce.selection.trials import CONFIRM as CONFIRM_PHASE
from raywce.trial_report import Report
from tests.search import decoded_tables, surrogate

CONFIRM = {"candidates": 2, "seeds": 3, "resamples": 500}
FLOOR = 3.5  # points, far above what an alpha of 6 costs es
ALPHAS = (1.5, 2.5, 3.5)


def searched(tmp_path: Path, *alphas: float, **search: Any) -> tuple[ExperimentFile, TrialTable]:
    """A file, and the table of a search of these alphas that has ended; each trial has its own seed."""
    file = surrogate.load_file(tmp_path, confirm=CONFIRM, constraints={"absolute_floor": FLOOR}, **search)
    table = TrialTable(file.space, file.experiment.languages)

    def add(trial: Trial, experiment: Experiment) -> None:
        path = tmp_path / f"{trial.trial_id}.parquet"
        rates = surrogate.wers(experiment)
        pq.write_table(decoded_tables.decoded(rates, trial.seed), path)
        if trial.trial_id == "baseline-0":
            table.record(trial, surrogate.report(experiment, 0, surrogate.ORIGINAL, utterances=str(path)))
        more = {"objective": rates["gl"], "violations": {"es": -0.1, "pt": -0.1}}
        table.record(trial, surrogate.report(experiment, 20, rates, utterances=str(path), **more))
        table.finish(trial, COMPLETE)

    def seeded(experiment: Experiment, seed: int) -> Experiment:
        return experiment.model_copy(update={"training": experiment.training.model_copy(update={"seed": seed})})

    for seed in range(3):
        add(Trial(BASELINE, f"baseline-{seed}", seed, {}), seeded(file.baseline(), seed))
    for number, alpha in enumerate(alphas, 3):
        values: dict[str, Scalar] = {"weighting.alpha": alpha, "training.optimizer.learning_rate": 1e-5}
        add(Trial(SEARCH, f"search-{number}", number, values), seeded(file.at(values), number))
    return file, table


def test_candidates_are_settings_of_the_space_from_safe_to_bold(tmp_path: Path) -> None:
    file, table = searched(tmp_path, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
    found = candidates(file, table)
    assert [one.name for one in found] == ["candidate-1", "candidate-2"]
    alphas = [one.values["weighting.alpha"] for one in found]
    assert 2 < alphas[0] < alphas[1] <= 6
    for one in found:
        file.at(one.values)
        assert one.plain == one.known, "no utterance here has more errors than words"
        assert one.known.mean[-1] < 0, "it is better than the baseline"
    assert candidates(file, table) == found, "the same table and seed, the same candidates"


def test_a_setting_that_was_tried_keeps_its_values(tmp_path: Path) -> None:
    file, table = searched(tmp_path, 1.5, 2.0, 2.5)
    known = known_of(file, table, file.experiment)
    assert len(known.rows) == 3
    grid = candidates(replace(file, experiment=as_grid(file.experiment)), table)
    assert {one.values["weighting.alpha"] for one in grid} <= {1.5, 2.0, 2.5}


def as_grid(experiment: Experiment) -> Experiment:
    return experiment.model_copy(update={"search": experiment.search.model_copy(update={"sampler": "grid"})})


def test_baseline_and_candidates_share_new_seeds(tmp_path: Path) -> None:
    file = surrogate.load_file(tmp_path, baseline_seeds=2, confirm={"candidates": 1, "seeds": 3})
    values: dict[str, Scalar] = {"weighting.alpha": 2.0, "training.optimizer.learning_rate": 1e-5}
    known = Known([-0.01, -0.01, -0.1], [1e-4] * 3, [True] * 3)
    chosen = [Candidate("candidate-1", values, 0.9, with_model=False, known=known)]
    found = [*runs(chosen, file, range(2)), *runs(chosen, file, range(2, 3))]
    assert [(run.trial_id, run.seed_index) for run in found] == [
        (f"confirm-{name}-{seed}", seed) for seed in (6, 7, 8) for name in ("baseline", "candidate-1")
    ]
    assert [run.evaluates_original for run in found] == [True] + 5 * [False]
    assert found[0].values is None
    assert found[1].values == values
    resumed = runs(chosen, file, range(3), begun=2)
    assert [run.seed_index for run in resumed][::2] == [2, 3, 4], "a phase that is resumed"


def experiment(tmp_path: Path, *alphas: float, floor: float = FLOOR) -> ExperimentFile:
    """A search of these alphas."""
    points = [{"weighting.alpha": alpha, "training.optimizer.learning_rate": 1e-5} for alpha in alphas]
    path = surrogate.write_file(
        tmp_path, points=points, trials=len(points), confirm=CONFIRM, constraints={"absolute_floor": floor}
    )
    tree = yaml.safe_load(path.read_text())
    tree["data"] = {"folder": str(tmp_path / "speech"), "extra_test": {"broadcast": str(tmp_path / "elsewhere")}}
    path.write_text(yaml.safe_dump(tree))
    for folder, languages in ((tmp_path / "speech", ("gl", "es", "pt")), (tmp_path / "elsewhere", ("gl",))):
        for language in languages:
            for split in ("dev", "test"):
                part = folder / split / language
                part.mkdir(parents=True, exist_ok=True)
                rows = [{"id": str(row), "speaker": str(row % 9), "text": "un " * 10} for row in range(90)]
                pq.write_table(pa.Table.from_pylist(rows), part / "0.parquet")
    return load(path, [], check_files=False)


def search(file: ExperimentFile, **more: Any) -> SearchOutcome:
    return run_search(file, **{"trial": decoded_tables.trial, "decode": decoded_tables.decode, **more})


@dataclass(frozen=True)
class Finished:
    file: ExperimentFile
    outcome: SearchOutcome
    folder: RunFolder

    def judged_again(self, storage: Path, floor: float = FLOOR) -> tuple[ExperimentFile, RunFolder]:
        """A copy of the run before its judgement, to be held to other limits; no trial of it has to run again."""
        overrides = [f"search.constraints.absolute_floor={floor}"]
        file = load(self.folder.local.parents[1] / "toy.yaml", overrides, check_files=False)
        shutil.copytree(self.folder.local, storage / "toy")
        shutil.rmtree(storage / "toy" / "test", ignore_errors=True)
        for name in ("outcome.json", "candidates.json", "test_split.json"):
            (storage / "toy" / name).unlink()
        folder = RunFolder.of(str(storage), "toy")
        folder.write_text("experiment.yaml", file.resolved_yaml())
        return file, folder


def test_runs_of_the_other_half_decide_nothing_about_the_first(tmp_path: Path) -> None:
    file, table = searched(tmp_path, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
    chosen, looks = candidates(file, table), looks_of(file.experiment)
    half = runs(chosen, file, range(looks.first))
    others = runs(chosen, file, range(looks.first, looks.trainings), half[0].seed_index)
    for run in half:
        path = tmp_path / f"{run.trial_id}.parquet"
        rates = surrogate.wers(file.baseline() if run.values is None else file.at(run.values))
        pq.write_table(decoded_tables.decoded(rates, run.seed_index), path)
        trial = Trial(CONFIRM_PHASE, run.trial_id, run.seed_index, run.values or {}, run.candidate)
        if run.evaluates_original:
            table.record(trial, surrogate.report(file.experiment, 0, surrogate.ORIGINAL, utterances=str(path)))
        table.record(trial, surrogate.report(file.experiment, 20, rates, utterances=str(path)))
        table.finish(trial, COMPLETE)
    before = wanting_more(table, chosen, file.experiment, half)
    for run, state in zip(others, (FAIL, RUNNING), strict=False):  # where the phase was killed; FAIL is trained again
        trial = Trial(CONFIRM_PHASE, run.trial_id, run.seed_index, run.values or {}, run.candidate)
        table.record(trial, Report(10))
        if state == FAIL:
            table.finish(trial, FAIL, "no memory")
    assert {row["state"] for row in table.last_rows(CONFIRM_PHASE)} == {COMPLETE, FAIL, RUNNING}
    assert wanting_more(table, chosen, file.experiment, half) == before


@pytest.fixture(scope="module")
def finished(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    tmp_path = tmp_path_factory.mktemp("finished")
    file = experiment(tmp_path, *ALPHAS)
    return Finished(file, search(file), RunFolder.of(str(tmp_path / "runs"), "toy"))


def never(*_: Any) -> None:
    raise AssertionError("it has ended, and does not run again")


@pytest.mark.slow
def test_a_winner_is_confirmed_and_tested_once(finished: Finished) -> None:
    outcome, folder = finished.outcome, finished.folder
    found = outcome.confirmation
    assert outcome.exit_code == 0
    assert found is not None
    assert set(found.values) == set(found.choice.claims)
    alphas = {name: values["weighting.alpha"] for name, values in found.values.items()}
    winner_name = found.choice.winner
    claim = found.choice.claims[winner_name]
    assert claim.confirmed
    assert claim.gain_bound < 0

    winner = found.dev.candidates[winner_name]
    seeds = range(4, 4 + claim.seeds)
    expected = {alpha: 0.50 - 0.03 * alpha + 0.001 * np.mean(seeds) for alpha in alphas.values()}
    assert winner.wer["gl"].value == pytest.approx(expected[alphas[winner_name]], abs=0.002)
    gain = winner.against_baseline["gl"]
    assert gain.value == pytest.approx(-0.03 * (alphas[winner_name] - 1), abs=0.003)
    assert gain.low < gain.value < gain.high < 0
    assert winner.low_resource_gain == gain
    assert found.dev.speakers == {"gl": 30, "es": 30, "pt": 30}
    assert found.dev.original.seeds == 0

    assert set(found.tests) == {"test", "broadcast"}
    assert found.tests["test"].original.wer["es"].value == pytest.approx(0.32, abs=0.002)
    assert found.tests["test"].candidates[found.choice.winner].language_identification == {"gl": 1, "es": 1, "pt": 1}
    assert set(found.tests["broadcast"].baseline.wer) == {"gl"}

    parts = dict(line.split() for line in folder.read_text("parts").splitlines())
    assert {part for name, part in parts.items() if name.startswith("confirm")} == {"confirm"}
    assert {part for name, part in parts.items() if not name.startswith("confirm")} == {"search"}
    rows = folder.read_table("trials.parquet").to_pylist()
    trained = {(row["candidate"], row["seed"]) for row in rows if row["phase"] == "confirm"}
    first = {("baseline", 6)} | {(name, seed) for name in ("baseline", *alphas) for seed in (4, 5)}
    assert first <= trained <= first | {("baseline", 7)} | {(name, 6) for name in alphas}
    utterances = folder.read_table("utterances.parquet").to_pylist()
    tested = {row["trial_id"] for row in utterances if row["phase"] == "test"}
    expected_models = {f"confirm-{name}-{seed}" for name, seed in trained if name in ("baseline", winner_name)}
    assert tested == {"original", *expected_models}
    assert {row["split"] for row in utterances if row["phase"] == "test"} == {"test", "broadcast"}
    (opening,) = openings(folder)
    averages = {"average-baseline", f"average-{winner_name}"}
    assert set(opening["models"]) == tested | averages

    averaged = found.averaged
    assert (averaged.candidate, averaged.seeds) == (winner_name, claim.seeds)
    assert averaged.dev.candidates[winner_name].wer["gl"].value == pytest.approx(winner.wer["gl"].value, abs=0.003)
    assert set(averaged.tests) == {"test", "broadcast"}
    decoded = {path.stem for path in (folder.local / "averages").glob("*.parquet")}
    expected_files = {f"{name}-without-{one}" for name in averages for one in range(claim.seeds)} | averages
    assert decoded == expected_files

    stored = json.loads(folder.read_text("outcome.json"))
    assert stored["confirmation"]["choice"]["winner"] == found.choice.winner
    assert is_finished(finished.file, folder, resume=False, open_test_again=True)


@pytest.mark.slow
def test_what_is_shown_of_it(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    show_outcome(finished.outcome)
    printed = capsys.readouterr().out
    found = finished.outcome.confirmation
    assert found is not None
    gain = found.dev.candidates[found.choice.winner].low_resource_gain
    assert "keeps all limits and beats the baseline with 95 % confidence: " in printed
    assert f"{100 * gain.value:+.2f} [" in printed
    assert "points of low-resource capped WER compared with the baseline" in printed
    assert "on dev, speakers held out of the search" in printed
    assert "on broadcast:" in printed


@pytest.mark.slow
def test_limits_that_may_be_broken_confirm_nothing_and_keep_the_test_split_closed(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = finished.judged_again(tmp_path, floor=0.0)  # es stands exactly on it
    outcome = search(file, storage=str(tmp_path), trial=never, decode=never)
    assert outcome.confirmation is not None
    assert outcome.confirmation.choice.winner is None
    assert outcome.exit_code == 3
    assert not openings(folder)
    show_outcome(outcome)
    printed = capsys.readouterr().out
    assert "makes no other language worse is confirmed by held-out speech in about " in printed
    assert "(assumed: WERs as the baseline's, " in " ".join(printed.split())
    assert "no candidate keeps all limits and beats the baseline with 95 % confidence" in printed
    assert "es may be" in printed


@pytest.mark.slow
def test_where_every_candidate_fails_nothing_is_confirmed_and_the_reasons_are_shown(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = finished.judged_again(tmp_path)
    table = folder.read_table("trials.parquet")
    rows = [row for row in table.to_pylist() if row["candidate"] in (None, "baseline")]
    folder.write_table("trials.parquet", pa.Table.from_pylist(rows, schema=table.schema))
    outcome = search(file, storage=str(tmp_path), trial=surrogate.failing_run, decode=never)
    assert outcome.confirmation is not None
    assert outcome.confirmation.choice.winner is None
    assert outcome.exit_code == 3
    show_outcome(outcome)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Nothing confirmed: every candidate failed." in printed
    assert printed.count("is left out because one of its runs failed: confirm-candidate-") == len(
        outcome.confirmation.values
    )
    assert "out of memory" in printed


@pytest.mark.slow
def test_a_test_split_that_was_opened_before_stays_closed_unless_asked(finished: Finished, tmp_path: Path) -> None:
    file, folder = finished.judged_again(tmp_path)
    open_test_split(folder, EVALUATE, ["trials/search-000/step-00000020"], again=False)
    first = search(file, storage=str(tmp_path), trial=never, decode=never).confirmation
    assert first is not None
    assert first.choice.winner
    assert not first.tests
    assert "raywce evaluate" in first.closed
    assert is_finished(file, folder, resume=False)
    assert not is_finished(file, folder, resume=False, open_test_again=True)
    again = search(file, storage=str(tmp_path), trial=never, open_test_again=True).confirmation
    assert again is not None
    assert set(again.tests) == {"test", "broadcast"}
    assert [opening["again"] for opening in openings(folder)] == [False, True]


@pytest.mark.slow
def test_tests_that_could_not_be_decoded_are_decoded_when_it_goes_on(finished: Finished, tmp_path: Path) -> None:
    file, folder = finished.judged_again(tmp_path)

    def failing(evaluations: Any, experiment: Any, on_table: Any) -> None:
        decoded_tables.decode(evaluations[:3], experiment, on_table)
        raise RunFailed("a worker failed: no memory")

    with pytest.raises(RunFailed, match="no memory"):
        search(file, storage=str(tmp_path), trial=never, decode=failing)
    first = folder.local / "test" / "test" / "original.parquet"
    before = first.stat().st_mtime_ns
    confirmation = search(file, storage=str(tmp_path), trial=never).confirmation
    assert confirmation == finished.outcome.confirmation
    assert first.stat().st_mtime_ns == before
    assert len(openings(folder)) == 1


@pytest.mark.slow
def test_cut_off_in_the_confirm_phase_it_goes_on_to_the_same_outcome(finished: Finished, tmp_path: Path) -> None:
    file, folder = finished.judged_again(tmp_path)
    table = folder.read_table("trials.parquet")
    rows = table.to_pylist()
    trained = list(dict.fromkeys(row["trial_id"] for row in rows if row["phase"] == "confirm"))
    kept = [row for row in rows if row["trial_id"] not in trained[3:]]
    running = [row | {"state": RUNNING, "final": False} for row in rows if row["trial_id"] == trained[3]][:1]
    folder.write_table("trials.parquet", pa.Table.from_pylist(kept + running, schema=table.schema))
    before = folder.read_text("parts").splitlines()
    found = search(file, storage=str(tmp_path)).confirmation
    again = [line.split()[0] for line in folder.read_text("parts").splitlines()[len(before) :]]
    assert found == finished.outcome.confirmation
    assert again == trained[3:]
    assert folder.read_table("trials.parquet").drop(["utterances"]).equals(table.drop(["utterances"]))
