from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from raywce.cluster.connect import Cluster
from raywce.errors import RunFailed
from raywce.experiment.load import ExperimentFile, load
from raywce.runs.folder import RunFolder
from raywce.runs.test_openings import EVALUATE, open_test_split, openings
from raywce.screen.outcome import show_outcome
from raywce.search.confirm import candidates, runs
from raywce.search.phases import is_finished, run_search
from raywce.selection.outcome import SearchOutcome, TrialFigures
from tests.search import decoded_tables, surrogate

CONFIRM = {"candidates": 2, "resamples": 500}
ALPHAS = (1.2, 1.8, 1.8)  # up to 3.5 they are feasible, and clearly better than the baseline


def test_candidates_are_the_best_feasible_ones_and_each_training_once(tmp_path: Path) -> None:
    """Below the loss ratio, 3 here, an adaptive weight's alpha makes no difference."""
    weighting = "weighting={kind: dynamic, alpha: {uniform: [1, 6]}}"
    rate = "training.optimizer.learning_rate=1e-5"
    file = surrogate.load_file(tmp_path, weighting, rate, baseline={}, points="none")
    alphas = {"a": 2.5, "b": 2.0, "c": 4.0, "d": 1.5, "e": 5.0}
    wers = {"a": 0.30, "b": 0.20, "c": 0.30, "d": 0.25, "e": 0.10}
    done = [
        TrialFigures(name, {"weighting.alpha": alpha}, {"gl": wers[name], "es": alpha}, {"es": -1.0}, wers[name])
        for name, alpha in alphas.items()
    ]
    done[-1] = replace(done[-1], violations={"es": 0.5})
    steps = file.experiment.training.steps
    known = {trial.trial_id: (file.at(trial.values), [3.0] * steps) for trial in done}
    assert [trial.trial_id for trial in candidates(done, known, 3)] == ["b", "c"]
    assert [trial.trial_id for trial in candidates(done, known, 1)] == ["b"]
    unknown = {name: (setting, ()) for name, (setting, _) in known.items()}
    assert [trial.trial_id for trial in candidates(done, unknown, 3)] == ["b", "d", "a"]
    of_one_seed = [replace(trial, wer={"gl": 0.2, "es": 0.2}) for trial in done]
    assert [trial.trial_id for trial in candidates(of_one_seed, unknown, 3)] == ["b"]


def test_baseline_and_candidates_share_new_seeds(tmp_path: Path) -> None:
    file = surrogate.load_file(tmp_path, baseline_seeds=2, confirm={"candidates": 1, "seeds": 3})
    chosen = TrialFigures("search-0", {"weighting.alpha": 2.0, "training.optimizer.learning_rate": 1e-5}, {}, {}, 0.3)
    found = runs([chosen], file)
    assert [(run.trial_id, run.seed_index) for run in found] == [
        (f"confirm-{name}-{seed}", seed) for seed in (6, 7, 8) for name in ("baseline", "search-0")
    ]
    assert [run.evaluates_original for run in found] == [True] + 5 * [False]
    assert found[0].values is None
    assert found[1].values == chosen.values
    assert [run.seed_index for run in runs([chosen], file, begun=2)][::2] == [2, 3, 4], "a phase that is resumed"


def experiment(tmp_path: Path, *alphas: float, floor: float = 1.0) -> ExperimentFile:
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
            part = folder / "test" / language
            part.mkdir(parents=True, exist_ok=True)
            (part / "0.parquet").touch()
    return load(path, [], check_files=False)


def search(file: ExperimentFile, **more: Any) -> SearchOutcome:
    return run_search(file, **{"trial": decoded_tables.trial, "decode": decoded_tables.decode, **more})


@dataclass(frozen=True)
class Finished:
    file: ExperimentFile
    outcome: SearchOutcome
    folder: RunFolder

    def judged_again(self, storage: Path, floor: float = 1.0) -> tuple[ExperimentFile, RunFolder]:
        """A copy of the run before its judgement, to be held to other limits; no trial of it has to run again."""
        overrides = [f"search.constraints.absolute_floor={floor}"]
        file = load(self.folder.local.parents[1] / "toy.yaml", overrides, check_files=False)
        shutil.copytree(self.folder.local, storage / "toy")
        shutil.rmtree(storage / "toy" / "test", ignore_errors=True)
        for name in ("outcome.json", "test_split.json"):
            (storage / "toy" / name).unlink()
        folder = RunFolder.of(str(storage), "toy")
        folder.write_text("experiment.yaml", file.resolved_yaml())
        return file, folder


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
    assert sorted(alphas.values()) == [1.2, 1.8]  # twice 1.8 is the same training
    assert alphas[found.choice.winner] == 1.8
    claim = found.choice.claims[found.choice.winner]
    assert claim.keeps_limits
    assert claim.better

    winner = found.dev.candidates[found.choice.winner]
    assert winner.wer["gl"].value == pytest.approx(0.446 + 0.001 * 5, abs=0.002)  # mean over seeds 4 to 6
    gain = winner.against_baseline["gl"]
    assert gain.value == pytest.approx(-0.024, abs=0.002)
    assert gain.low < gain.value < gain.high < 0
    assert winner.low_resource_gain == gain
    assert found.dev.speakers == {"gl": 30, "es": 30, "pt": 30}
    assert found.dev.seeds == 3

    assert set(found.tests) == {"test", "broadcast"}
    assert found.tests["test"].original.wer["es"].value == pytest.approx(0.32, abs=0.002)
    assert found.tests["test"].candidates[found.choice.winner].language_identification == {"gl": 1, "es": 1, "pt": 1}
    assert set(found.tests["broadcast"].baseline.wer) == {"gl"}

    parts = dict(line.split() for line in folder.read_text("parts").splitlines())
    assert {part for name, part in parts.items() if name.startswith("confirm")} == {"confirm"}
    assert {part for name, part in parts.items() if not name.startswith("confirm")} == {"search"}
    rows = folder.read_table("trials.parquet").to_pylist()
    seeds = {(row["candidate"], row["seed"]) for row in rows if row["phase"] == "confirm"}
    assert seeds == {(name, seed) for name in ("baseline", *alphas) for seed in (4, 5, 6)}
    utterances = folder.read_table("utterances.parquet").to_pylist()
    tested = {row["trial_id"] for row in utterances if row["phase"] == "test"}
    expected = {f"confirm-{name}-{seed}" for name in ("baseline", found.choice.winner) for seed in (4, 5, 6)}
    assert tested == {"original", *expected}
    assert {row["split"] for row in utterances if row["phase"] == "test"} == {"test", "broadcast"}
    (opening,) = openings(folder)
    assert set(opening["models"]) == tested

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
    assert f"is better than the baseline with 95 % confidence: {100 * gain.value:+.2f} [" in printed
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
    assert "no candidate keeps all limits with 95 % confidence" in printed
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
    assert printed.count("is left out because one of its runs failed: confirm-search-") == 2
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

    def failing(evaluations: Any, resources: Any, on_table: Any) -> None:
        decoded_tables.decode(evaluations[:3], resources, on_table)
        raise RunFailed("a worker failed: no memory")

    with pytest.raises(RunFailed, match="no memory"):
        search(file, storage=str(tmp_path), trial=never, decode=failing)
    first = folder.local / "test" / "test" / "original.parquet"
    before = first.stat().st_mtime_ns
    confirmation = search(file, storage=str(tmp_path), trial=never).confirmation
    assert confirmation == finished.outcome.confirmation
    assert first.stat().st_mtime_ns == before
    assert len(openings(folder)) == 1


KILLED = """
import sys
from pathlib import Path
from tests.search import test_confirm
test_confirm.search(test_confirm.experiment(Path(sys.argv[1]), *test_confirm.ALPHAS))
"""


@pytest.mark.slow
def test_killed_in_the_confirm_phase_it_goes_on_to_the_same_outcome(
    cluster: Cluster, finished: Finished, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "RAY_ADDRESS": cluster.address},
    )
    folder = RunFolder.of(str(tmp_path / "runs"), "toy")
    parts, end = folder.local / "parts", time.monotonic() + 180
    while not (parts.exists() and parts.read_text().count("confirm-") >= 3) and time.monotonic() < end:
        time.sleep(0.1)
    assert process.poll() is None, "it ended by itself"
    process.kill()
    process.wait()
    assert not folder.has("outcome.json"), "it was killed too late"
    assert search(experiment(tmp_path, *ALPHAS)).confirmation == finished.outcome.confirmation
    tables = [one.read_table("trials.parquet") for one in (folder, finished.folder)]
    rows = [[{**row, "utterances": None} for row in table.to_pylist()] for table in tables]
    assert rows[0] == rows[1]
