"""Every rule of the file: what breaks it, the key path and the words that it is reported with."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from tests.experiment.example import FAMILY, SEARCHED_RATE, changed, problems, write_rows

SEARCHED_ALPHA = "weighting.alpha={uniform: [1, 6]}"
STOPPED = [SEARCHED_ALPHA, "search.early_stopping=true", "training.evaluate_every=10"]
PAPER = "augmentation.preset=paper"
RULES = [
    # keys and types
    (["trianing.steps=3"], "trianing", "is not a known key. Did you mean training?"),
    (["weighting.alhpa=3"], "weighting.alhpa", "is not a known key. Did you mean alpha?"),
    (
        ["search.constraints.languages={es: {floor: 1}}"],
        "search.constraints.languages.es.floor",
        "Known here: absolute_floor",
    ),
    (["training.steps=ten"], "training.steps", 'must be a whole number, but got "ten"'),
    (["training.steps=1.5"], "training.steps", "must be a whole number, but got 1.5"),
    (["training.encoder_context=half"], "training.encoder_context", "must be"),
    (["training.encoder_context=0"], "training.encoder_context", "must be"),
    (["evaluation.encoder_context=6"], "evaluation.encoder_context", "must be 'full' or 'batch'"),
    (["evaluation.intermediate_share=0"], "evaluation.intermediate_share", "must be greater than 0"),
    (["training.steps=0"], "training.steps", "must be at least 1, but got 0"),
    (["training=3"], "training", "must be a section"),
    (["weighting=3"], "weighting", "must be a section"),
    (["model={checkpoint: 3}"], "model.checkpoint", "must be text, but got 3"),
    (["model.checkpoint="], "model.checkpoint", "must be text, but got null"),
    (["data.sampling.both_kinds=maybe"], "data.sampling.both_kinds", "must be true or false or 'auto'"),
    (["evaluation.metric=wer"], "evaluation.metric", "'cer_normalized', 'cer_raw' or 'auto', but got \"wer\""),
    (["name='a b'"], "name", "must be of the form"),
    (["weighting.kind=famly"], "weighting.kind", "must be one of 'none', 'constant'"),
    (["weighting={alpha: 2}"], "weighting.kind", "is required"),
    (["weighting={kind: constant}"], "weighting.alpha", "is required"),
    (["languages={high_resource: [es]}"], "languages.low_resource", "is required"),
    (["weighting.alpha"], "weighting.alpha", "must be KEY=VALUE"),
    # weights
    (["weighting.alpha=0"], "weighting.alpha", "must be greater than 0, but got 0"),
    (["weighting.alpha=-1.5"], "weighting.alpha", "must be greater than 0, but got -1.5"),
    (["weighting.alpha=.nan"], "weighting.alpha", "must be"),
    (["weighting.alpha={uniform: [0, 6]}"], "weighting.alpha", "greater than 0, but got 0.0 in {uniform: [0.0, 6.0]}"),
    (["weighting.alpha={choice: [2, -3]}"], "weighting.alpha", "greater than 0, but got -3 in {choice: [2, -3]}"),
    (["weighting.languages={gl: {alpha: 0}}"], "weighting.languages.gl.alpha", "must be greater than 0"),
    (["weighting.languages={es: {alpha: 2}}"], "weighting.languages.es", "must be for a low-resource language"),
    ([FAMILY, "weighting.ramp_start=1.5"], "weighting.ramp_start", "must be at most 1, but got 1.5"),
    ([FAMILY, "weighting.ramp_start=-0.5"], "weighting.ramp_start", "must be at least 0, but got -0.5"),
    ([FAMILY, "weighting.ramp_fraction={uniform: [0, 1.5]}"], "weighting.ramp_fraction", "at most 1, but got 1.5"),
    ([FAMILY, "weighting.adaptive={choice: [0, true]}"], "weighting.adaptive", "must be true or false, but got 0"),
    (["weighting.kind=dynamic", "languages.high_resource=[]"], "weighting.kind", "must have high-resource languages"),
    ([FAMILY, "languages.high_resource=[]"], "weighting.adaptive", "must have high-resource languages"),
    # languages
    (["languages.low_resource=[]"], "languages.low_resource", "must name at least 1"),
    (["languages.high_resource=[es, gl]"], "languages.high_resource", "must not name a low-resource language"),
    (["languages.high_resource=[es, pt, es]"], "languages.high_resource", "name a language once, but got es twice"),
    (["languages.high_resource=[es, 3]"], "languages.high_resource[1]", "must be text, but got 3"),
    (["languages.low_resource=[ast]"], "languages.low_resource[0]", "the checkpoint has a token for, but got ast"),
    (["languages.language_tokens={gl: ast}"], "languages.language_tokens.gl", "has a token for, but got ast"),
    (["languages.watched=[es]"], "languages.watched", "must not name a language that is trained on, but got es"),
    (["languages.watched=[gl]"], "languages.watched", "must not name a language that is trained on, but got gl"),
    (
        ["data.timestamps=0.5", "model.checkpoint=demo:micro-whisper"],
        "data.timestamps",
        "must be 0, as the checkpoint has",
    ),
    (["languages.watched=[en, en]"], "languages.watched", "must name a language once, but got en twice"),
    (["languages.watched=[fr]"], "languages.watched[0]", "must be a language that the checkpoint has a token for"),
    (
        ["languages.language_tokens={gl: {new_like: ast}}"],
        "languages.language_tokens.gl",
        "has a token for, but got ast",
    ),
    (["languages.language_tokens={gl: {new_like: es}}"], "languages.language_tokens.gl", "has no token for yet"),
    (["languages.language_tokens={gl: {like: es}}"], "languages.language_tokens.gl.new_like", "is required"),
    (
        ["languages.low_resource=[gl-x]", "languages.language_tokens.gl-x={new_like: es}"],
        "languages.language_tokens.gl-x",
        "two or three lower-case letters",
    ),
    (
        ["languages.low_resource=[ast]", "languages.language_tokens.ast={new_like: es}", "model.lora.rank=8"],
        "model.lora.rank",
        "must be 0 with a new token",
    ),
    (
        ["evaluation.robustness=true", "search.confirm.candidates=0"],
        "evaluation.robustness",
        "must be false without a confirm phase that opens the test split (search.confirm), but got true. For one model",
    ),
    (["evaluation.timestamps=true", "search.confirm.test=false"], "evaluation.timestamps", "must be false without"),
    (
        ["search.constraints.robustness.nothing=10"],
        "search.constraints.robustness.nothing",
        "must be null without evaluation.robustness: true, but got 10",
    ),
    (
        ["search.constraints.robustness.language_identification=1"],
        "search.constraints.robustness.language_identification",
        "must be null without evaluation.identify_language: true",
    ),
    (
        ["search.constraints.robustness.loops=1", "search.confirm.test=false"],
        "search.constraints.robustness.loops",
        "must be null without a confirm phase that opens the test split",
    ),
    (["languages.language_tokens={fr: es}"], "languages.language_tokens.fr", "for a language of the experiment"),
    (["search.constraints.languages={fr: {}}"], "search.constraints.languages.fr", "be for a high-resource language"),
    (["search.constraints.languages={gl: {}}"], "search.constraints.languages.gl", "be for a high-resource language"),
    (["data.sampling.shares={gl: 1, es: 1}"], "data.sampling.shares", "a share for each language, but got none for pt"),
    (
        ["languages.watched=[en]", "search.constraints.languages={fr: {}}"],
        "search.constraints.languages.fr",
        "must be for a high-resource language or a watched one, but got fr. Known: es, pt, en",
    ),
    (
        ["languages.watched=[en]", "data.sampling.shares={gl: 1, es: 1, pt: 1, en: 1}"],
        "data.sampling.shares.en",
        "must be for a language of the experiment that is trained on",
    ),
    (["languages.watched=[en]", "augmentation.languages=[gl, en]"], "augmentation.languages", "that are trained on"),
    (["data.sampling.shares={gl: 1, es: 1, pt: 1, fr: 1}"], "data.sampling.shares.fr", "language of the experiment"),
    (
        ["data.sampling={temperature: 2, shares: {gl: 1, es: 1, pt: 1}}"],
        "data.sampling.temperature",
        "must be left out where data.sampling.shares are given, but got 2",
    ),
    (["data.sampling.shares={gl: 0, es: 1, pt: 1}"], "data.sampling.shares.gl", "must be greater than 0"),
    (
        ["data.sampling.both_kinds=true", "languages.high_resource=[]"],
        "data.sampling.both_kinds",
        "must have high-resource languages",
    ),
    # augmentation
    (["weighting={kind: constant, adaptive: true}"], "weighting.adaptive", "weighting.kind family has it"),
    (
        ["weighting={kind: constant, ramp_start: 0.5}"],
        "weighting.ramp_start",
        "weighting.kind linear_progressive, progressive_dynamic, family have it",
    ),
    (
        ["weighting={kind: constant, alpha: 2, languages: {gl: {alpha: 2, alpha_final: 3}}}"],
        "weighting.languages.gl.alpha_final",
        "is not a known key. Did you mean alpha_initial?",
    ),
    (["augmentation.copys=1"], "augmentation.copys", "is not a known key. Did you mean copies?"),
    (["augmentation.pitch_shift.semitone=1"], "augmentation.pitch_shift.semitone", "Did you mean semitones?"),
    ([PAPER, "augmentation.pitch_shift.semitone=1"], "augmentation.pitch_shift.semitone", "Did you mean semitones?"),
    (["augmentation=3"], "augmentation", "must be a section of keys and values, but got 3"),
    (["augmentation={preset: paper, gain: 3}"], "augmentation.gain", "must be a section of keys and values, but got 3"),
    (["augmentation={preset: paper, gain: null}"], "augmentation.gain", "must be a section of keys and values"),
    ([PAPER, "augmentation.gain={uniform: [0, 6]}"], "augmentation.gain", "but got 0.0 in {uniform: [0.0, 6.0]}"),
    (["augmentation={preset: papers, gain: 3}"], "augmentation.preset", "must be 'paper', but got \"papers\""),
    (["augmentation.preset=[paper]"], "augmentation.preset", "must be 'paper'"),
    ([PAPER, "augmentation.gain.decibels=loud"], "augmentation.gain.decibels", 'must be a number, but got "loud"'),
    (["augmentation.copies=two"], "augmentation.copies", "must be a whole number or 'all', but got \"two\""),
    ([PAPER, "augmentation.copies=two"], "augmentation.copies", "must be a whole number or 'all', but got \"two\""),
    (["augmentation.copies=-1"], "augmentation.copies", "must be at least 0"),
    (
        ["augmentation.copies={uniform: [0, 2]}"],
        "augmentation.copies",
        "whole number or 'all', but got 0.0 in {uniform",
    ),
    (["augmentation.copies={choice: [1, some]}"], "augmentation.copies", 'but got "some" in {choice'),
    (["augmentation.gain.probability=1.5"], "augmentation.gain.probability", "must be at most 1, but got 1.5"),
    (["augmentation.strength=-1"], "augmentation.strength", "must be at least 0, but got -1"),
    (
        ["augmentation.time_stretch.rate={uniform: [0, 1]}"],
        "augmentation.time_stretch.rate",
        "at most 0.5, but got 1.0",
    ),
    (["augmentation.pitch_shift.semitones=13"], "augmentation.pitch_shift.semitones", "must be at most 12, but got 13"),
    (["augmentation.background_noise.snr=.inf"], "augmentation.background_noise.snr", "must be finite"),
    (["augmentation.white_noise.amplitude=0"], "augmentation.white_noise.amplitude", "must be greater than 0"),
    (["augmentation.preset={choice: [paper]}"], "augmentation.preset", "must be a value, not a distribution"),
    (["augmentation.languages={choice: [gl, es]}"], "augmentation.languages", "must be a value, not a distribution"),
    (
        ["augmentation.background_noise.folder={choice: [a, b]}"],
        "augmentation.background_noise.folder",
        "must be a value, not a distribution",
    ),
    (["augmentation.languages=[]"], "augmentation.languages", "must name at least 1"),
    (["augmentation.languages=[gl, 3]"], "augmentation.languages[1]", "must be text, but got 3"),
    (
        ["augmentation.languages=[gl, fr]"],
        "augmentation.languages",
        "languages of the experiment that are trained on, but got fr. Known: gl",
    ),
    (["augmentation.languages=[gl, es, gl]"], "augmentation.languages", "name a language once, but got gl twice"),
    (
        [PAPER, "augmentation.white_noise.snr=10"],
        "augmentation.white_noise",
        "an amplitude or an snr where its probability can be above 0, but got amplitude 0.01 and snr 10.0. Give one",
    ),
    (
        [PAPER, "augmentation.white_noise.snr={uniform: [5, 20]}"],
        "augmentation.white_noise",
        "but got amplitude 0.01 and snr {uniform: [5.0, 20.0]}",
    ),
    (
        ["augmentation.white_noise={probability: {uniform: [0, 1]}, amplitude: null}"],
        "augmentation.white_noise",
        "but got amplitude null and snr null",
    ),
    (
        [PAPER, "augmentation.white_noise.amplitude={choice: [0.01, null]}"],
        "augmentation.white_noise",
        "but got amplitude {choice: [0.01, null]} and snr null",
    ),
    (
        ["augmentation.background_noise.probability=0.5"],
        "augmentation.background_noise.folder",
        "must name a folder of recordings where its probability can be above 0",
    ),
    (
        ["augmentation.impulse_response.probability={choice: [0, 0.5]}"],
        "augmentation.impulse_response.folder",
        "must name a folder of recordings",
    ),
    (
        ["augmentation.background_noise={probability: {choice: [0, 0.5]}, folder: ./nowhere}"],
        "augmentation.background_noise.folder",
        "must be a folder with .wav, .flac",
    ),
    (
        [PAPER, "augmentation.strength={uniform: [0, 2]}", "augmentation.time_stretch.rate={uniform: [0, 0.3]}"],
        "augmentation.time_stretch.rate",
        "must be at most 0.5 when multiplied by augmentation.strength, but got 0.3 x 2 = 0.6",
    ),
    (
        [PAPER, "augmentation.strength=4"],
        "augmentation.pitch_shift.semitones",
        "must be at most 12 when multiplied by augmentation.strength, but got 4 x 4 = 16. Lower one of the two",
    ),
    # steps, batches, machine
    (["resources.workers=3"], "training.batch_size", "divisible by resources.workers x training.accumulation_steps"),
    (["training.accumulation_steps=3"], "training.batch_size", "(1 x 3 = 3), but got 8. The nearest is 9"),
    (["training.batch_size=1", "weighting.kind=dynamic"], "training.batch_size", "must be at least 2"),
    (["training.evaluate_every=200"], "training.evaluate_every", "at most training.steps (100), but got 200"),
    (["training.checkpoint_every=200"], "training.checkpoint_every", "at most training.steps (100), but got 200"),
    (["resources.workers=8"], "resources.cpus_per_worker", "must fit the CPUs of this machine (4)"),
    (
        ["resources.gpus_per_worker=1"],
        "resources.gpus_per_worker",
        "must fit the GPUs of this machine (0), as no Ray cluster is named or runs here, but got 1 x 1 = 1. "
        "Lower resources.gpus_per_worker, or set RAY_ADDRESS",
    ),
    (["search.seed=5000000000"], "search.seed", "must be less than 4294967296, but got 5000000000"),
    (["resources.cpus_per_worker=1.5"], "resources.cpus_per_worker", "must be whole above 1"),
    (
        ["resources={workers: 2, gpus_per_worker: 0.5}"],
        "resources.gpus_per_worker",
        "must be 0 or at least 1 with several workers, as NCCL takes one worker a GPU, "
        "but got 0.5 for each of 2 workers. Set resources.workers: 1",
    ),
    # what the file names outside itself
    (["data.folder=./nowhere"], "data.folder", "must be a folder that raywce prepare wrote"),
    (["languages.high_resource=[es, en]"], "data.folder", "must hold train/en/*.parquet"),
    (["languages.high_resource=[es, en]"], "data.folder", "must hold dev/en/*.parquet"),
    (["languages.watched=[en]"], "data.folder", "must hold dev/en/*.parquet"),
    (["model.checkpoint=./nowhere"], "model.checkpoint", "must be a transformers folder that exists, or a Hub id"),
    (["model.checkpoint=openai/whisper-small.en"], "model.checkpoint", "must be multilingual"),
    (["model.checkpoint=openai/whisper-small@main"], "model.checkpoint", "a Hub id organisation/name, but got openai/"),
    (["model.checkpoint=s3://bucket/whisper"], "model.checkpoint", "must be a transformers folder that exists"),
    (
        ["model.checkpoint=openai/whisper-small", "languages.low_resource=[yue]"],
        "languages.low_resource[0]",
        "must be a language that the checkpoint has a token for, but got yue",
    ),
    # the search
    (["model.lora.rank={choice: [4, 8]}"], "search.baseline", "must have the baseline's value of model.lora.rank"),
    ([SEARCHED_RATE], "search.baseline", "must have the baseline's value of training.optimizer.learning_rate"),
    (
        [SEARCHED_ALPHA, "search.baseline.training.optimizer.beta1=0.8"],
        "search.baseline.training.optimizer.beta1",
        "must be a searched key of training.optimizer",
    ),
    (
        [SEARCHED_ALPHA, "search.baseline.weighting.alpha=2"],
        "search.baseline.weighting.alpha",
        "must be a searched key of training.optimizer, data.sampling or model.lora",
    ),
    (
        ["data.sampling.temperature={uniform: [1, 5]}", "search.points=none"],
        "search.baseline",
        "must have the baseline's value of data.sampling.temperature",
    ),
    (["evaluation.stop_loops=true", "evaluation.capped=false"], "evaluation.stop_loops", "must be false with"),
    (["weighting={kind: dynamic, alpha: 2, ratio_cap: 0.5}"], "weighting.ratio_cap", "must be at least 1, but got 0.5"),
    (
        [SEARCHED_RATE, "search.baseline.training.optimizer.learning_rate=0"],
        "search.baseline.training.optimizer.learning_rate",
        "must be greater than 0",
    ),
    (["weighting.alpha={uniform: [3, 6]}"], "weighting.alpha", "must hold 2.0 (published constant alpha 2)"),
    (
        [SEARCHED_ALPHA, "search.points=[{weighting.alpha: 7}]"],
        "search.points[0].weighting.alpha",
        "must be in {uniform: [1.0, 6.0]}, but got 7",
    ),
    ([SEARCHED_ALPHA, "search.points=[{}]"], "search.points[0]", "must have a value for weighting.alpha"),
    (
        [SEARCHED_ALPHA, "search.points=[{weighting.alpha: 2, training.steps: 3}]"],
        "search.points[0].training.steps",
        "must be a searched key",
    ),
    (["search.points=all"], "search.points", "'published' or 'none'"),
    (["search.sampler=cma"], "search.sampler", "must be 'auto', 'noise_aware', 'gp', 'tpe', 'random' or 'grid'"),
    (
        [SEARCHED_ALPHA, "search.at_time_limit=stop"],
        "search.at_time_limit",
        "must be finish without a time limit, but got stop",
    ),
    (["search.early_stopping=3"], "search.early_stopping", "must be true or false, but got 3"),
    (["search.reduction_factor=1"], "search.reduction_factor", "must be greater than 1, but got 1"),
    (
        [SEARCHED_ALPHA, "evaluation.part=search"],
        "evaluation.part",
        "must be all in a search with a confirm phase, but got search",
    ),
    (["search.confirm.seeds=2"], "search.confirm.seeds", "must be at least 3, but got 2"),
    (["data.extra_test={a b: folder}"], "data.extra_test.a b", "must be of the form"),
    *(
        ([f"data.extra_test={{{name}: folder}}"], f"data.extra_test.{name}", f"must have a name other than {name}")
        for name in ("test", "dev")
    ),
    *(
        (
            [*STOPPED, f"search.sampler={sampler}"],
            "search.early_stopping",
            f"must be false with search.sampler: {sampler}, which learns nothing from a trial that was stopped",
        )
        for sampler in ("gp", "noise_aware")
    ),
    (
        [*STOPPED, "search.sampler=grid"],
        "search.early_stopping",
        "must be false with search.sampler: grid, which compares whole trainings, but got true",
    ),
    (
        [*STOPPED, "search.sampler=tpe", "training.evaluate_every=null"],
        "training.evaluate_every",
        "must be below training.steps (100) for trials to be stopped early, but got null",
    ),
    (
        [*STOPPED, "search.sampler=random", "training.evaluate_every=100"],
        "training.evaluate_every",
        "must be below training.steps (100)",
    ),
    (
        [*STOPPED, "search.sampler=tpe", "training.optimizer.warmup_steps=90"],
        "search.early_stopping",
        "at which trials can differ, but got trials that are the same until step 90, evaluated every 10 steps. Lower",
    ),
    (
        [FAMILY.replace("0.75", "0.95"), *STOPPED[1:], "search.sampler=random"],
        "search.early_stopping",
        "the same until step 95",
    ),
]


@pytest.mark.parametrize(("overrides", "path", "words"), RULES)
def test_a_broken_rule_is_reported_at_its_key_path(example: Path, overrides: list[str], path: str, words: str) -> None:
    found = problems(example, overrides)
    assert any(problem.path == path and words in str(problem) for problem in found), list(map(str, found))


def test_the_example_itself_holds(example: Path) -> None:
    assert not changed(example).notes


@pytest.mark.parametrize(
    "overrides",
    [
        [PAPER, "augmentation.copies=0"],
        [PAPER, "augmentation.white_noise={amplitude: null, snr: {uniform: [-5, 20]}}"],
        [PAPER, "augmentation.white_noise.amplitude={loguniform: [0.001, 0.02]}"],
        ["augmentation.white_noise={probability: 0, amplitude: null}"],
        ["augmentation.white_noise={probability: 0, snr: 10}"],
        ["augmentation.background_noise={probability: 0, folder: ./nowhere}"],
        [PAPER, "augmentation.strength=3"],
        ["augmentation.strength=10", "augmentation.gain.probability=0.5"],
    ],
)
def test_an_augmentation_that_holds(example: Path, overrides: list[str]) -> None:
    assert changed(example, *overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        [*STOPPED, "search.sampler=auto"],
        [*STOPPED, "search.sampler=auto", "training.evaluate_every=null"],  # auto declines
        [*STOPPED, "search.sampler=tpe", "search.reduction_factor=2.5"],
        [*STOPPED, "search.sampler=random", "training.optimizer.warmup_steps=89"],
        [*STOPPED[1:], "search.sampler=gp"],  # nothing is searched
        [SEARCHED_ALPHA, "search.sampler=gp", "search.reduction_factor=7"],
    ],
)
def test_an_early_stopping_that_holds(example: Path, overrides: list[str]) -> None:
    assert changed(example, *overrides)


def test_a_wrong_augmentation_is_reported_once(example: Path) -> None:
    wrong = ["augmentation={preset: paper, gain: 3, white_noise: {probabilty: 1}, copies: two}"]
    paths = [problem.path for problem in problems(example, wrong)]
    assert sorted(paths) == ["augmentation.copies", "augmentation.gain", "augmentation.white_noise.probabilty"]


@pytest.mark.parametrize("file", ["0.wav", "0.FLAC", "music/0.ogg", "0.mp3", "0.txt", None])
def test_a_folder_of_recordings_must_hold_some(example: Path, file: str | None) -> None:
    folder = example.parent / "noise"
    if file:
        (folder / file).parent.mkdir(parents=True)
        (folder / file).touch()
    noise = f"augmentation.background_noise={{probability: 0.5, folder: {folder}}}"
    if file and not file.endswith(".txt"):
        assert changed(example, noise)
    else:
        found = problems(example, [noise])
        assert [problem.path for problem in found] == ["augmentation.background_noise.folder"]
        assert changed(example, noise, check_files=False)


def test_everything_is_reported_at_once(example: Path) -> None:
    apart = [
        "trianing.steps=3",
        "training.batch_size=7",
        "resources.workers=2",
        "languages.high_resource=[es, gl, en]",
        "weighting.alpha={uniform: [-1, 6]}",
        "training.optimizer.beta1={uniform: [0.8]}",
        SEARCHED_RATE,
        "search.constraints.languages={fr: {}}",
        "model.checkpoint=./nowhere",
        "evaluation.metric={choice: [wer_raw]}",
        "weighting.scope",
    ]
    paths = {problem.path for problem in problems(example, apart)}
    assert paths == {
        "trianing",
        "training.batch_size",
        "languages.high_resource",
        "data.folder",
        "weighting.alpha",
        "training.optimizer.beta1",
        "search.baseline",
        "search.constraints.languages.fr",
        "model.checkpoint",
        "evaluation.metric",
        "weighting.scope",
    }


def test_a_bad_section_does_not_hide_the_others(example: Path) -> None:
    paths = [problem.path for problem in problems(example, ["training=3", "languages.high_resource=[gl]", "name=-"])]
    assert paths == ["name", "training", "languages.high_resource"]


def test_a_language_without_a_token_takes_another_ones(example: Path) -> None:
    prepared = example.parent / "prepared"
    for split in ("train", "dev"):
        shutil.copytree(prepared / split / "gl", prepared / split / "ast")
    file = changed(example, "languages.low_resource=[ast]", "languages.language_tokens={ast: es}")
    assert file.experiment.languages.token_of("ast") == "es"


def test_a_hub_id_has_the_languages_that_transformers_knows(example: Path) -> None:
    assert changed(example, "model.checkpoint=openai/whisper-small")
    found = problems(example, ["model.checkpoint=openai/whisper-small", "languages.low_resource=[ast]"])
    assert found[0].path == "languages.low_resource[0]"


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_checkpoint_folder_must_be_whole(example: Path, file: str) -> None:
    (example.parent / "whisper" / file).unlink()
    found = problems(example, [])
    assert [problem.path for problem in found] == ["model.checkpoint"]
    assert file in str(found[0])


@pytest.mark.parametrize(
    ("content", "words"),
    [(json.dumps({"is_multilingual": False}), "must be multilingual"), ("{", "generation_config.json: must be JSON")],
)
def test_a_checkpoint_without_languages_is_refused(example: Path, content: str, words: str) -> None:
    (example.parent / "whisper" / "generation_config.json").write_text(content)
    found = problems(example, [])
    assert [problem.path for problem in found] == ["model.checkpoint"]
    assert words in str(found[0])


def test_a_generation_config_that_is_completed_from_the_tokenizer_is_a_note(example: Path) -> None:
    assert not [note for note in changed(example).notes if "generation_config.json" in note]
    (example.parent / "whisper" / "generation_config.json").unlink()
    (note,) = [note for note in changed(example).notes if "generation_config.json" in note]
    assert "lang_to_id, task_to_id, no_timestamps_token_id" in note


def test_a_confirm_phase_needs_its_test_splits(example: Path, tmp_path: Path) -> None:
    shutil.rmtree(example.parent / "prepared" / "test" / "gl")
    assert changed(example)  # a training needs none
    (problem,) = problems(example, [SEARCHED_ALPHA])
    assert "must hold test/gl/*.parquet" in str(problem)
    assert changed(example, SEARCHED_ALPHA, "search.confirm.test=false")
    assert changed(example, SEARCHED_ALPHA, "search.confirm.candidates=0")

    extra = f"data.extra_test={{broadcast: {tmp_path / 'elsewhere'}}}"
    found = [str(problem) for problem in problems(example, [SEARCHED_ALPHA, extra])]
    assert any("data.extra_test.broadcast: must be a prepared folder with test/<language>" in line for line in found)
    (tmp_path / "elsewhere" / "test" / "es").mkdir(parents=True)
    (tmp_path / "elsewhere" / "test" / "es" / "0.parquet").touch()
    assert changed(example, SEARCHED_ALPHA, extra, "search.confirm.candidates=1", check_files=False)
    (problem,) = problems(example, [SEARCHED_ALPHA, extra, "search.confirm.test=false"])
    assert "must have a search that opens test splits" in str(problem)


@pytest.mark.parametrize("count", [0, 1])
def test_a_confirm_phase_needs_dev_of_each_language_for_both_of_its_parts(example: Path, count: int) -> None:
    write_rows(example.parent / "prepared" / "dev" / "es" / "0.parquet", count)
    assert changed(example)  # a training needs one part only
    (problem,) = problems(example, [SEARCHED_ALPHA])
    assert problem.path == "data.folder"
    assert (
        f"must hold at least 2 utterances in dev/es: one for the search, one for its confirm phase, but got {count}"
        in str(problem)
    )
    assert changed(example, SEARCHED_ALPHA, "search.confirm.candidates=0")


def test_a_damaged_file_of_dev_is_named_before_the_search(example: Path) -> None:
    damaged = example.parent / "prepared" / "dev" / "es" / "0.parquet"
    damaged.write_text("no parquet")
    (problem,) = problems(example, [SEARCHED_ALPHA])
    assert problem.path == str(damaged)


def test_a_split_without_a_wanted_language(example: Path) -> None:
    shutil.rmtree(example.parent / "prepared" / "dev" / "gl")
    found = problems(example, [])
    assert ["must hold dev/gl/*.parquet" in str(problem) for problem in found] == [True]


def test_the_machine_does_not_count_where_a_cluster_is_named(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    file = changed(example, "resources.workers=8", "resources.gpus_per_worker=1")
    assert file.notes == ["resources are checked on joining the Ray cluster"]


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
def test_a_cluster_that_was_started_here_counts_while_it_answers(
    name: str, example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "ray").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{server.getsockname()[1]}")
        assert changed(example, "resources.workers=8").notes
    assert problems(example, ["resources.workers=8"])[0].path == "resources.cpus_per_worker"


def test_files_are_left_alone_where_they_are_not_to_be_checked(example: Path) -> None:
    away = ("data.folder=./nowhere", "model.checkpoint=./nowhere", "resources.workers=8")
    assert changed(example, *away, check_files=False)


def test_a_short_context_that_is_not_trained_for_is_worth_a_note(example: Path) -> None:
    assert not changed(example, "evaluation.batch_size=4").notes
    (note,) = changed(example, "evaluation.encoder_context=batch").notes
    assert "repetitions" in note
    assert not changed(example, "evaluation.encoder_context=batch", "training.encoder_context=batch").notes


def test_a_wer_where_words_have_no_spaces_between_them_is_worth_a_note(example: Path) -> None:
    languages = "languages={low_resource: [ja], high_resource: [es, zh-TW], watched: [th]}"
    (note,) = changed(example, languages, check_files=False).notes
    assert note.startswith("words of ja, zh-TW, th have no spaces between them")
    assert "evaluation.metric: auto" in note
    for metric in ("auto", "cer_raw"):
        assert not changed(example, languages, f"evaluation.metric={metric}", check_files=False).notes


def test_a_normaliser_that_splits_words_at_their_vowel_signs_is_worth_a_note(example: Path) -> None:
    languages = "languages={low_resource: [gl], high_resource: [es, hi]}"
    basic = ("evaluation.normalizer=whisper_basic", languages)
    (note,) = changed(example, *basic, check_files=False).notes
    assert note.startswith("whisper_basic splits words of hi at their vowel signs")
    assert "evaluation.normalizer: words" in note
    assert not changed(example, *basic, "evaluation.metric=wer_raw", check_files=False).notes
    assert not changed(example, languages, check_files=False).notes


def test_a_watched_language_needs_dev_and_no_train(example: Path) -> None:
    part = example.parent / "prepared" / "dev" / "en"
    part.mkdir()
    write_rows(part / "0.parquet", 2)
    watched = [SEARCHED_ALPHA, "languages.watched=[en]"]
    languages = changed(example, *watched).experiment.languages
    assert (languages.all, languages.decoded) == (["gl", "es", "pt"], ["gl", "es", "pt", "en"])
    write_rows(part / "0.parquet", 1)
    (problem,) = problems(example, watched)
    assert "must hold at least 2 utterances in dev/en" in str(problem)
    assert changed(example, *watched, "search.confirm.candidates=0")


def test_a_watched_language_has_a_limit_where_the_constraints_name_it(example: Path) -> None:
    watched = ["languages.watched=[en, it]", "languages.language_tokens={it: es}"]

    def limited(*overrides: str) -> list[str]:
        return changed(example, *watched, *overrides, check_files=False).experiment.limited_languages

    assert limited() == ["es", "pt"]
    assert limited("search.constraints.languages={it: {}, es: {absolute_floor: 1}}") == ["es", "pt", "it"]
    assert limited("search.constraints.languages={it: {}}", "languages.high_resource=[]") == ["it"]


def test_trials_may_share_a_gpu_with_a_note_on_what_it_costs(example: Path) -> None:
    (note,) = changed(example, "resources.gpus_per_worker=0.25", check_files=False).notes
    assert "0.25 of a GPU's memory" in note
    assert "a lower bound" in note
    assert not changed(example, "resources.gpus_per_worker=1", check_files=False).notes


def test_speech_whose_preparation_was_interrupted_is_refused(example: Path) -> None:
    folder = Path(changed(example).experiment.data.folder)
    (folder / ".prepare").mkdir()
    assert [(one.path, "was interrupted" in one.rule) for one in problems(example, [])] == [("data.folder", True)]
    (folder / "prepared.json").write_text("{}")  # what comes last
    assert changed(example)


def test_gpus_of_linux_on_windows_count_though_no_driver_lists_them(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("raywce.experiment.environment._WSL", tmp_path)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    changed(example, "resources.gpus_per_worker=1")
    (found,) = problems(example, ["resources={workers: 2, gpus_per_worker: 1}"])
    assert "must fit the GPUs of this machine (1)" in str(found)


def test_dev_must_fit_into_the_window_of_a_model_with_a_short_one(example: Path) -> None:
    checkpoint, dev = example.parent / "whisper", example.parent / "prepared/dev/es/0.parquet"
    config = checkpoint / "processor_config.json"
    processor = json.loads(config.read_text())
    processor["feature_extractor"]["chunk_length"] = 3
    config.write_text(json.dumps(processor))
    write_rows(dev, 2, seconds=3.0)
    changed(example)
    write_rows(dev, 2, seconds=3.5)
    (found,) = problems(example, [])
    assert str(found) == (
        "data.folder: utterances of dev/es must be at most 3 s long, the window of the model, but got 3.50 s. "
        "Prepare with --max-seconds 3, or take another model"
    )


def test_a_uri_means_the_same_with_a_slash_at_its_end(example: Path) -> None:
    folder = (example.parent / "prepared").as_uri()
    assert changed(example, f"data.folder={folder}/").experiment.data.folder == folder


def test_a_uri_with_a_query_is_refused(example: Path) -> None:
    uri = "s3://bucket/place?endpoint_override=http://host"
    found = problems(example, [f"storage={uri}", f"data.folder={uri}", f"data.extra_test={{other: '{uri}'}}"])
    assert [problem.path for problem in found] == ["storage", "data.folder", "data.extra_test.other"]
    assert all("without a query" in str(problem) and "AWS_ENDPOINT_URL" in str(problem) for problem in found)
