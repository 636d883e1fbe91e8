"""The whole way on the demo world, by the command line: speech prepared, a model trained, evaluated and searched for.

What is killed and run again must end with the figures of what was left alone.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import jiwer
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from raywce.evaluation.normalizer import NORMALIZERS
from tests.demo_world import (
    CHECKPOINT_EVERY,
    FLOOR,
    HIGH_RESOURCE,
    LOW_RESOURCE,
    SEARCH_STEPS,
    Searched,
    World,
    contents,
    kill_with_ray,
    lasting,
    needs_a_voice,
    reports,
    trials,
)

pytestmark = [pytest.mark.slow, needs_a_voice]

TRAIN_STEPS = 20
TRAIN = ["weighting={kind: constant, alpha: 4}", f"training.steps={TRAIN_STEPS}", "training.evaluate_at_start=true"]


@pytest.fixture(scope="module")
def trained(world: World) -> Path:
    world.run("train", *world.of(world.folder / "trained", TRAIN), "--json", world.folder / "trained.json")
    return world.folder / "trained" / "demo"


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
    arguments, run = world.of(world.folder / "killed", TRAIN), world.folder / "killed" / "demo"
    world.disturb("train", arguments, lambda: max(reports(run), default=0) > CHECKPOINT_EVERY, kill_with_ray)
    killed = reports(run)
    assert max(killed) < TRAIN_STEPS, "it was killed too late"
    world.run("train", *arguments)
    resumed, expected = reports(run), reports(trained)
    assert lasting(resumed) == lasting(expected)
    for step in range(CHECKPOINT_EVERY + 1):
        assert resumed[step] == killed[step], "what the checkpoint holds is not done again"

    weights = load_file(trained / "model" / "model.safetensors")
    for name, value in load_file(run / "model" / "model.safetensors").items():
        assert torch.equal(value, weights[name]), name


def test_a_finished_training_is_only_shown_again(world: World, trained: Path) -> None:
    before, clusters, again = contents(trained), world.clusters, world.folder / "again.json"
    assert clusters
    world.run("train", *world.of(world.folder / "trained", TRAIN), "--json", again)
    assert json.loads(again.read_text()) == json.loads((world.folder / "trained.json").read_text())
    assert contents(trained) == before
    assert world.clusters == clusters, "it needs no Ray"


def wers_by_trial(utterances: pa.Table) -> dict[str, dict[str, float]]:
    """Capped WERs by trial and language, from the counts of the utterances."""
    totals: dict[tuple[str, str], tuple[int, int]] = {}
    for row in utterances.to_pylist():
        hits, substitutions, deletions, insertions = (
            row[f"words_normalized_{name}"] for name in ("hits", "substitutions", "deletions", "insertions")
        )
        words = hits + substitutions + deletions
        errors, all_words = totals.get((row["trial_id"], row["language"]), (0, 0))
        capped = min(substitutions + deletions + insertions, words)
        totals[row["trial_id"], row["language"]] = errors + capped, all_words + words
    wers: dict[str, dict[str, float]] = {}
    for (trial_id, language), (errors, words) in totals.items():
        wers.setdefault(trial_id, {})[language] = errors / words
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
    world.run("search", *searched.arguments, "--json", again, codes=(searched.code,))
    assert json.loads(again.read_text()) == searched.figures
    assert contents(searched.run) == before
    assert world.clusters == clusters, "it needs no Ray"
