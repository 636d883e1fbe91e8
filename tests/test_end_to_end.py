"""The whole way on the demo world, by the command line: speech prepared, a model trained, evaluated and searched for.

What is killed and run again must end with the figures of what was left alone.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import jiwer
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from raywce.demo.corpus import CorpusSize, write_corpus
from raywce.evaluation.normalizer import NORMALIZERS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(util.find_spec("espeakng_loader") is None, reason="espeakng_loader speaks the demo corpus"),
]

EXPERIMENT = Path(__file__).parents[1] / "search_spaces" / "quickstart.yaml"
LOW_RESOURCE, HIGH_RESOURCE = "gl", ["es", "pt", "fr", "de", "en"]
SIZE = CorpusSize(train=120, low_resource_train=40, dev=20, low_resource_dev=40)
FLOOR = 3.0  # points of WER
TRAIN_STEPS, SEARCH_STEPS, CHECKPOINT_EVERY = 24, 12, 6
OFTEN = [f"training.checkpoint_every={CHECKPOINT_EVERY}", "training.log_every=1"]
TRAIN = ["weighting={kind: constant, alpha: 4}", f"training.steps={TRAIN_STEPS}", "training.evaluate_at_start=true"]
SEARCH = [f"training.steps={SEARCH_STEPS}", "search.trials=2", "search.baseline_seeds=1", "search.points=none"]
SEARCH += [f"search.constraints.absolute_floor={FLOOR}"]
PASSING = ("time_s", "placement_group_id", "controller_id", "restarts", "checkpoint", "utterances")  # differ by run


@dataclass(frozen=True)
class World:
    """Prepared speech, and commands as a user calls them, on Ray clusters of their own."""

    folder: Path
    ray: Path

    @property
    def speech(self) -> Path:
        return self.folder / "speech"

    def begin(self, command: str, *arguments: object) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        environment["RAY_TMPDIR"] = str(self.ray)
        with (self.folder / "log").open("wb") as log:
            line = [sys.executable, "-m", "raywce", command, *map(str, arguments)]
            return subprocess.Popen(line, stdout=log, stderr=log, cwd=self.folder, env=environment)

    def run(self, command: str, *arguments: object, codes: tuple[int, ...] = (0,)) -> int:
        code = self.begin(command, *arguments).wait()
        assert code in codes, self.log
        return code

    @property
    def log(self) -> str:
        """What the last command said."""
        return (self.folder / "log").read_text()

    @property
    def clusters(self) -> set[Path]:
        """Sessions of all clusters so far."""
        return set((self.ray / "ray").glob("session_*-*"))

    def of(self, storage: str, changes: list[str]) -> list[str]:
        """Arguments of train and search."""
        surroundings = [f"data.folder={self.speech}", f"data.cache={self.folder / 'cache'}"]
        return [str(EXPERIMENT), *surroundings, *OFTEN, *changes, f"storage={self.folder / storage}"]

    def crash(self, command: str, arguments: list[str], when: Callable[[], bool]) -> None:
        """Begin a command and kill it with all of Ray, as soon as `when` says so."""
        process = self.begin(command, *arguments)
        end = time.monotonic() + 300
        try:
            while not when():
                assert process.poll() is None, f"it ended by itself: {self.log}"
                assert time.monotonic() < end, self.log
                time.sleep(0.1)
        finally:
            kill_tree(process)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        tree = [root, *root.children(recursive=True)]
        for one in tree:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()
        psutil.wait_procs(tree, timeout=30)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="raywce-", ignore_cleanup_errors=True) as ray:
        new = World(folder, Path(ray))
        write_corpus(folder / "demo", SIZE, splits=("train", "dev"), jobs=os.cpu_count() or 1)
        new.run("prepare", folder / "demo", "--out", new.speech, "--max-seconds", 3)
        yield new


def reports(run: Path) -> dict[int, dict[str, Any]]:
    """The reports of a training by step; empty as long as there are none."""
    file = run / "reports.parquet"
    return {row["step"]: row for row in snapshot(file)} if file.exists() else {}


def snapshot(file: Path) -> list[dict[str, Any]]:
    """The rows of a parquet file that another process may replace at any moment: read in one go."""
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(file.read_bytes())).to_pylist()
    return rows


def lasting(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in PASSING and value is not None}


@pytest.fixture(scope="module")
def trained(world: World) -> Path:
    world.run("train", *world.of("trained", TRAIN), "--json", world.folder / "trained.json")
    return world.folder / "trained" / "quickstart"


def test_a_training_brings_the_low_resource_wer_down(trained: Path) -> None:
    found = reports(trained)
    assert list(found) == list(range(TRAIN_STEPS + 1))
    before, after = found[0], found[TRAIN_STEPS]
    assert after[f"wer/{LOW_RESOURCE}"] < 0.8 * before[f"wer/{LOW_RESOURCE}"]
    assert all(found[step][f"alpha/{LOW_RESOURCE}"] == 4 for step in range(1, TRAIN_STEPS + 1))


def test_transformers_alone_hears_with_the_trained_model_what_raywce_reports(world: World, trained: Path) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(trained / "model")
    processor = WhisperProcessor.from_pretrained(trained / "model")
    dev = pq.read_table(world.speech / "dev" / LOW_RESOURCE).to_pylist()
    audio = [soundfile.read(io.BytesIO(row["audio"]["bytes"]))[0] for row in dev]
    features = processor(audio, sampling_rate=16_000, return_tensors="pt").input_features
    tokens = model.generate(features, language=LOW_RESOURCE, task="transcribe", num_beams=1, do_sample=False)
    heard = dict(zip((row["id"] for row in dev), processor.batch_decode(tokens, skip_special_tokens=True), strict=True))
    normalize = NORMALIZERS["words"]
    wer = jiwer.wer([normalize(row["text"]) for row in dev], [normalize(heard[row["id"]]) for row in dev])
    assert wer == pytest.approx(reports(trained)[TRAIN_STEPS][f"wer_normalized/{LOW_RESOURCE}"])


def test_a_trained_model_is_evaluated_as_the_training_saw_it(world: World, trained: Path) -> None:
    evaluated = world.folder / "evaluated.json"
    arguments = ["--data", world.speech, "--cache", world.folder / "cache", "--batch-size", 64, "--json", evaluated]
    world.run("evaluate", trained / "model", *arguments)
    languages = json.loads(evaluated.read_text())["languages"]
    assert set(languages) == {LOW_RESOURCE, *HIGH_RESOURCE}
    last = reports(trained)[TRAIN_STEPS]
    for language, figures in languages.items():
        for metric in ("wer_normalized", "cer_normalized", "wer_raw", "cer_raw", "insertion_rate"):
            assert figures[metric] == last[f"{metric}/{language}"], (metric, language)


def test_a_killed_training_goes_on_to_the_same_figures_and_weights(world: World, trained: Path) -> None:
    arguments, run = world.of("killed", TRAIN), world.folder / "killed" / "quickstart"
    world.crash("train", arguments, lambda: max(reports(run), default=0) > CHECKPOINT_EVERY)
    killed = reports(run)
    assert max(killed) < TRAIN_STEPS, "it was killed too late"
    world.run("train", *arguments)
    resumed, expected = reports(run), reports(trained)
    assert {step: lasting(row) for step, row in resumed.items()} == {
        step: lasting(row) for step, row in expected.items()
    }
    for step in range(CHECKPOINT_EVERY + 1):
        assert resumed[step] == killed[step], "what the checkpoint holds is not done again"

    weights = load_file(trained / "model" / "model.safetensors")
    for name, value in load_file(run / "model" / "model.safetensors").items():
        assert torch.equal(value, weights[name]), name


def test_a_finished_training_is_only_shown_again(world: World, trained: Path) -> None:
    before, again = contents(trained), world.folder / "again.json"
    world.run("train", *world.of("trained", TRAIN), "--json", again)
    assert json.loads(again.read_text()) == json.loads((world.folder / "trained.json").read_text())
    assert contents(trained) == before


def contents(folder: Path) -> dict[Path, int]:
    """All files inside, each with the time of its last change."""
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


def trials(run: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The rows of trials.parquet by trial and step; empty as long as there are none."""
    file = run / "trials.parquet"
    rows = snapshot(file) if file.exists() else []
    return {(row["trial_id"], row["step"]): row for row in rows}


@dataclass(frozen=True)
class Searched:
    run: Path
    code: int
    figures: dict[str, Any]  # of --json


@pytest.fixture(scope="module")
def searched(world: World) -> Searched:
    figures = world.folder / "searched.json"
    code = world.run("search", *world.of("searched", SEARCH), "--json", figures, codes=(0, 3))
    return Searched(world.folder / "searched" / "quickstart", code, json.loads(figures.read_text()))


def wers_by_trial(utterances: pa.Table) -> dict[str, dict[str, float]]:
    """WERs by trial and language, from the counts of the utterances."""
    counts = [f"words_normalized_{name}" for name in ("hits", "substitutions", "deletions", "insertions")]
    wers: dict[str, dict[str, float]] = {}
    groups = utterances.group_by(["trial_id", "language"]).aggregate([(name, "sum") for name in counts])
    for row in groups.to_pylist():
        hits, substitutions, deletions, insertions = (row[f"{name}_sum"] for name in counts)
        wer = (substitutions + deletions + insertions) / (hits + substitutions + deletions)
        wers.setdefault(row["trial_id"], {})[row["language"]] = wer
    return wers


def test_the_figures_of_a_search_follow_from_its_utterances(searched: Searched) -> None:
    figures, rows = searched.figures, trials(searched.run)
    assert json.loads((searched.run / "outcome.json").read_text()) == figures
    wers = wers_by_trial(pq.read_table(searched.run / "utterances.parquet"))
    final = {trial_id: row for (trial_id, step), row in rows.items() if step == SEARCH_STEPS}
    assert wers.keys() == {"original", *final}
    for trial_id, row in final.items():
        assert row["state"] == "COMPLETE"
        assert {language: row[f"wer/{language}"] for language in wers[trial_id]} == wers[trial_id]
    assert figures["references"]["original"] == wers["original"]
    assert figures["references"]["baseline"] == pytest.approx(wers["baseline-0"])

    tried = {trial_id: wers[trial_id] for trial_id in final if trial_id.startswith("search")}
    assert len(tried) == figures["trials"] == 2
    rise = {name: {of: 100 * (wer[of] - wers["baseline-0"][of]) for of in HIGH_RESOURCE} for name, wer in tried.items()}
    feasible = {name for name in tried if max(rise[name].values()) <= FLOOR}
    assert {name for name in tried if final[name]["feasible"]} == feasible
    assert figures["feasible"] == len(feasible)
    assert searched.code == figures["exit_code"] == (0 if feasible else 3)
    if feasible:
        shown, expected = figures["best"], min(feasible, key=lambda name: tried[name][LOW_RESOURCE])
    else:
        shown, expected = figures["nearest"], min(tried, key=lambda name: max(rise[name].values()))
    assert shown["trial_id"] == expected
    assert shown["wer"] == tried[expected]
    assert shown["violations"] == pytest.approx({of: points - FLOOR for of, points in rise[expected].items()})


def test_a_finished_search_is_left_alone(world: World, searched: Searched) -> None:
    before, clusters, again = contents(searched.run), world.clusters, world.folder / "again.json"
    assert clusters
    world.run("search", *world.of("searched", SEARCH), "--json", again)
    assert json.loads(again.read_text()) == searched.figures
    assert contents(searched.run) == before
    assert world.clusters == clusters, "it needs no Ray"


def test_a_killed_search_is_resumed_to_the_same_tables(world: World, searched: Searched) -> None:
    arguments, run = world.of("resumed", SEARCH), world.folder / "resumed" / "quickstart"

    def in_second_trial() -> bool:
        return any(name.startswith("search-001") and (step or 0) > CHECKPOINT_EVERY for name, step in trials(run))

    world.crash("search", arguments, in_second_trial)
    killed = trials(run)
    ended = {name for (name, _), row in killed.items() if row["state"] == "COMPLETE"}
    assert len(ended) == 2, "the baseline and the first trial"
    files = {name: contents(run / "trials" / name) for name in ended}
    code = world.run("search", *arguments, "--resume", codes=(0, 3))
    assert code == searched.code

    resumed, expected = trials(run), trials(searched.run)
    assert {of: lasting(row) for of, row in resumed.items()} == {of: lasting(row) for of, row in expected.items()}
    for (name, step), row in killed.items():
        if name in ended:
            assert resumed[name, step] == row, "what has ended does not run again"
        elif step is not None and step <= CHECKPOINT_EVERY:
            assert resumed[name, step]["time_s"] == row["time_s"], "what the checkpoint holds is not done again"
    assert {name: contents(run / "trials" / name) for name in ended} == files
    tables = [pq.read_table(folder / "utterances.parquet") for folder in (run, searched.run)]
    assert tables[0].equals(tables[1])
    figures = json.loads((run / "outcome.json").read_text())
    assert {**figures, "tables": None} == {**searched.figures, "tables": None}
