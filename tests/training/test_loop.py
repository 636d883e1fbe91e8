"""The worker's loop in this process: Ray Train's few functions are stood in for, the training is real."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from raywce.cluster.decode import run_evaluation
from raywce.data.store import Utterances
from raywce.evaluation.decode import Transcription, scored
from raywce.evaluation.evaluate import Evaluation
from raywce.evaluation.utterances import UtteranceResult
from raywce.experiment import schema
from raywce.experiment.schema import Experiment
from raywce.model import load_model
from raywce.training import loop, setup
from raywce.training.checkpoint import load_state
from raywce.training.memory import OutOfMemory
from tests.evaluation.talking_whisper import write_talking_whisper
from tests.tiny_corpus import write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper
from tests.training.session import Session


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_tiny_whisper(folder / "model", chunk_length=3, dropout=0.1)
    return write_tiny_corpus(folder, {"gl": 6, "es": 20, "en": 20}, {"gl": 2, "es": 2, "en": 2})


Run = Callable[..., Session]


@pytest.fixture
def run(inputs: Path, tmp_path: Path) -> Run:
    """Train with changes to a small experiment; `resume` names the checkpoint of an earlier session to go on from."""
    threads = torch.get_num_threads()
    sessions: list[Session] = []

    def train(resume: Session | None = None, at: str = "", **changes: dict[str, Any]) -> Session:
        session = Session(tmp_path / str(len(sessions)), resume.folder / at if resume else None)
        sessions.append(session)
        loop.train_worker({"experiment": _tree(inputs, changes), "folder": str(session.folder)}, session)
        return session

    yield train
    torch.set_num_threads(threads)


def _tree(inputs: Path, changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    tree: dict[str, dict[str, Any]] = {
        "model": {"checkpoint": str(inputs / "model")},
        "data": {"folder": str(inputs), "cache": str(inputs / "cache"), "sampling": {"both_kinds": True}},
        "languages": {"low_resource": ["gl"], "high_resource": ["es", "en"]},
        "weighting": {"kind": "constant", "alpha": 2.0},
        "training": {"steps": 4, "batch_size": 4, "optimizer": {"learning_rate": 1e-3}},
    }
    for section, values in changes.items():
        tree[section] = values if section == "weighting" else {**tree.get(section, {}), **values}
    return Experiment.model_validate({"name": "a", **tree}).model_dump()


def weights(session: Session, name: str = "step-00000004") -> dict[str, torch.Tensor]:
    return load_file(session.folder / name / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_reports_checkpoints_and_tables_come_when_they_are_due(run: Run) -> None:
    training = {"steps": 6, "log_every": 2, "evaluate_every": 3, "checkpoint_every": 5, "evaluate_at_start": True}
    session = run(training=training)
    assert session.steps() == [0, 2, 3, 4, 5, 6]
    assert session.steps("wer/gl") == [0, 3, 6]
    assert session.steps("loss/es") == [2, 3, 4, 5, 6]
    assert session.saved == ["step-00000005", "step-00000006"]
    assert [report["final"] for report in session.reports] == [False] * 5 + [True]
    last = session.reports[-1]
    table = pq.read_table(last["utterances"])
    assert sorted(set(table["language"].to_pylist())) == ["en", "es", "gl"]
    rows = [row for row in table.to_pylist() if row["language"] == "es"]
    errors = sum(
        row[f"words_normalized_{kind}"] for row in rows for kind in ("substitutions", "deletions", "insertions")
    )
    words = sum(row[f"words_normalized_{kind}"] for row in rows for kind in ("hits", "substitutions", "deletions"))
    assert last["wer/es"] == last["wer_normalized/es"] == errors / words
    assert last["objective"] == last["wer/gl"]


def test_without_a_checkpoint_interval_each_evaluation_is_saved(run: Run) -> None:
    assert run(training={"evaluate_every": 2}).saved == ["step-00000002", "step-00000004"]


def test_a_resumed_training_is_the_undisturbed_one_to_the_bit(run: Run) -> None:
    settings = {"training": {"steps": 4, "accumulation_steps": 2, "checkpoint_every": 2, "log_every": 1}}
    whole = run(**settings)
    resumed = run(resume=whole, at="step-00000002", **settings)
    assert resumed.steps() == [3, 4]
    assert equal(weights(resumed), weights(whole))
    for report in resumed.reports:
        (same,) = [one for one in whole.reports if one["step"] == report["step"]]
        for key in (key for key in same if key.startswith(("loss/", "wer/", "alpha/"))):
            assert same[key] == report[key]


def test_an_evaluation_that_may_be_lost_is_given_again_on_resuming(run: Run) -> None:
    settings = {"training": {"evaluate_every": 2, "log_every": 1}}
    whole = run(**settings)
    resumed = run(resume=whole, at="step-00000002", **settings)
    assert resumed.steps() == [2, 3, 4]
    again, first = resumed.reports[0], next(report for report in whole.reports if report["step"] == 2)
    changing = ("time_s", "memory", "utterances", "seconds")
    assert {k: v for k, v in again.items() if not k.startswith(changing)} == {
        k: v for k, v in first.items() if not k.startswith(changing)
    }


def test_a_resumed_adapter_is_the_undisturbed_one_to_the_bit(run: Run, inputs: Path) -> None:
    model = {"checkpoint": str(inputs / "model"), "lora": {"rank": 2, "alpha": 4, "dropout": 0.1}}
    settings = {"model": model, "training": {"steps": 4, "checkpoint_every": 2, "accumulation_steps": 2}}
    whole = run(**settings)
    resumed = run(resume=whole, at="step-00000002", **settings)

    def adapter(session: Session, name: str = "step-00000004") -> dict[str, torch.Tensor]:
        assert not (session.folder / name / "model.safetensors").exists()
        return load_file(session.folder / name / "adapter_model.safetensors")

    assert equal(adapter(resumed), adapter(whole))
    assert not equal(adapter(whole), adapter(whole, "step-00000002"))


def test_a_training_cut_off_after_its_last_checkpoint_only_reports_it_again(run: Run) -> None:
    whole = run()
    again = run(resume=whole, at="step-00000004")
    assert again.steps() == [4]
    assert again.reports[0]["final"] is True
    assert again.reports[0]["wer/gl"] == whole.reports[-1]["wer/gl"]
    assert load_state(whole.folder / "step-00000004").seconds <= again.reports[0]["time_s"]


def test_the_same_seed_gives_the_same_weights_and_another_one_others(run: Run) -> None:
    one, same, other = run(), run(), run(training={"seed": 1})
    assert equal(weights(one), weights(same))
    assert not equal(weights(one), weights(other))


def test_the_seed_draws_the_utterances(run: Run, inputs: Path, tmp_path: Path) -> None:
    """Without dropout, nothing else is drawn."""
    model = {"checkpoint": str(write_tiny_whisper(tmp_path / "model", chunk_length=3))}
    one, other = (run(model=model, training={"seed": seed}) for seed in (0, 1))
    assert not equal(weights(one), weights(other))


def test_the_seed_draws_the_dropout(run: Run, tmp_path: Path) -> None:
    """A batch is the whole corpus, so that the same is drawn with each seed, in another order."""
    folder = write_tiny_corpus(tmp_path / "speech", {"gl": 1, "es": 1}, {"gl": 2, "es": 2})
    losses = []
    for seed, dropout in ((0, 0.1), (1, 0.1), (0, 0.0), (1, 0.0)):
        whisper = write_tiny_whisper(tmp_path / f"{seed}-{dropout}", chunk_length=3, dropout=dropout)
        session = run(
            model={"checkpoint": str(whisper)},
            data={"folder": str(folder), "cache": str(tmp_path / "cache"), "sampling": {"both_kinds": True}},
            languages={"low_resource": ["gl"], "high_resource": ["es"]},
            training={"steps": 1, "batch_size": 2, "seed": seed},
        )
        losses.append(session.reports[-1]["loss/gl"])
    assert losses[2] == pytest.approx(losses[3], rel=1e-5)
    assert abs(losses[0] - losses[1]) > 1e-3


def test_each_utterance_has_the_token_of_its_language(inputs: Path, tmp_path: Path) -> None:
    tree = _tree(inputs, {"languages": {"language_tokens": {"gl": "en"}}, "training": {"batch_size": 16}})
    worker = setup.Worker(Experiment.model_validate(tree), str(tmp_path), Session(tmp_path))
    (batch,) = next(worker.loader_of(16, 1).batches(0)).micro_batches
    token_ids = {name: worker.tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("es", "en")}
    tokens = dict(zip(batch.languages, batch.labels[:, 0].tolist(), strict=True))
    assert tokens == {"gl": token_ids["en"], "es": token_ids["es"], "en": token_ids["en"]}


@pytest.mark.parametrize("warmup_steps", [0, 4])
def test_a_step_is_made_with_the_learning_rate_that_is_reported(run: Run, inputs: Path, warmup_steps: int) -> None:
    """Adam's first update is the learning rate, where the gradient is well above epsilon."""
    optimizer = {"learning_rate": 1e-3, "warmup_steps": warmup_steps, "weight_decay": 0.0, "epsilon": 1e-12}
    session = run(training={"log_every": 1, "checkpoint_every": 1, "optimizer": optimizer})
    before, after = load_file(inputs / "model" / "model.safetensors"), weights(session, "step-00000001")
    first = session.reports[0]["learning_rate"]
    assert first == pytest.approx(1e-3 / (warmup_steps or 1), rel=0.5)
    assert max((after[name] - before[name]).abs().max().item() for name in after) == pytest.approx(first, rel=1e-3)


def test_losses_between_reports_are_those_of_all_tokens(run: Run) -> None:
    """A mean over the tokens of both steps lies between theirs."""
    each, pairs = (run(training={"log_every": every}) for every in (1, 2))
    for report, (one, other) in zip(pairs.reports, (each.reports[:2], each.reports[2:]), strict=True):
        for language in ("gl", "es", "en"):
            losses = sorted(step[f"loss/{language}"] for step in (one, other) if f"loss/{language}" in step)
            assert losses[0] < report[f"loss/{language}"] < losses[-1] or losses == [report[f"loss/{language}"]]
            seen = sum(step.get(f"utterances_seen/{language}", 0) for step in (one, other))
            assert report[f"utterances_seen/{language}"] == seen


def test_languages_have_weights_of_their_own(run: Run) -> None:
    languages = {"low_resource": ["gl", "es"], "high_resource": ["en"]}
    alike = run(languages=languages)
    session = run(
        languages=languages, weighting={"kind": "constant", "alpha": 2.0, "languages": {"es": {"alpha": 5.0}}}
    )
    assert (session.reports[-1]["alpha/gl"], session.reports[-1]["alpha/es"]) == (2.0, 5.0)
    assert not equal(weights(session), weights(alike))


@pytest.mark.parametrize(
    "changes",
    [
        {"weighting": {"kind": "none"}},
        {"weighting": {"kind": "constant", "alpha": 2.0, "scope": "batch"}},
        {"weighting": {"kind": "constant", "alpha": 2.0, "languages": {"gl": {"alpha": 3.0}}}},
        {"weighting": {"kind": "linear_progressive", "alpha_initial": 2.0, "alpha_final": 5.0}},
        {"weighting": {"kind": "dynamic", "alpha": 1.5}},
        {"model": {"freeze_encoder": True}},
        {"data": {"sampling": {"temperature": 5.0}}},
        {"data": {"sampling": {"shares": {"gl": 2.0, "es": 1.0, "en": 1.0}}}},
        {"data": {"sampling": {"duration_window": 4}}},
        {"data": {"timestamps": 0.5}},
        {"training": {"encoder_context": "batch"}},
        {"training": {"encoder_context": "batch", "context_margin": 0}},
        {"training": {"encoder_context": 2.5}},
        {"training": {"precision": "bf16"}},
        {"training": {"precision": "fp16"}},
        {"training": {"batch_size": 8}},
        {"training": {"optimizer": {"learning_rate": 1e-3, "weight_decay": 0.5}}},
        {"training": {"optimizer": {"learning_rate": 1e-3, "beta1": 0.5}}},
        {"training": {"optimizer": {"learning_rate": 1e-3, "beta2": 0.9}}},
        {"training": {"optimizer": {"learning_rate": 1e-3, "epsilon": 1e-3}}},
        {"training": {"optimizer": {"learning_rate": 1e-3, "warmup_steps": 2}}},
        {"training": {"optimizer": {"learning_rate": 1e-3, "decay": "none"}}},
        # Adam's update does not depend on the gradient's scale, but for epsilon and for steps clipped differently.
        {"training": {"optimizer": {"learning_rate": 1e-3, "max_gradient_norm": 1e-4}}},
    ],
    ids=str,
)
def test_each_option_changes_what_is_learnt(run: Run, plain: dict[str, torch.Tensor], changes: dict[str, Any]) -> None:
    assert not equal(weights(run(**changes)), plain)


@pytest.fixture(scope="module")
def kept() -> dict[str, dict[str, torch.Tensor]]:
    return {}


@pytest.fixture
def plain(run: Run, kept: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The weights without changes, trained once."""
    if "plain" not in kept:
        kept["plain"] = weights(run())
    return kept["plain"]


@pytest.mark.parametrize(
    "changes",
    [
        {"resources": {"loader_threads": 4, "prefetch": 1}},
        {"model": {"gradient_checkpointing": True}},
        {"training": {"log_every": 1}},
        {"training": {"evaluate_every": 1}},
        {"training": {"evaluate_every": 1}, "evaluation": {"intermediate_share": 0.5}},
    ],
    ids=str,
)
def test_what_is_only_about_speed_or_looking_changes_nothing(
    run: Run, plain: dict[str, torch.Tensor], changes: dict[str, Any]
) -> None:
    assert equal(weights(run(**changes)), plain)


EACH_DRAW = {"probability": 1.0}
ALL_DRAWS: dict[str, Any] = {"copies": "all"}
NOISY = {**ALL_DRAWS, "white_noise": EACH_DRAW}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(3):
        noise = np.random.default_rng(number).standard_normal(4_000) * 0.1
        soundfile.write(folder / f"{number}.flac", noise, 22_050)
    return str(folder)


@pytest.mark.parametrize(
    "augmentation",
    [
        NOISY,
        {**NOISY, "copies": 1},
        {**NOISY, "strength": 0.5},
        {**NOISY, "languages": ["gl", "es"]},
        {**ALL_DRAWS, "white_noise": {**EACH_DRAW, "amplitude": 0.05}},
        {**ALL_DRAWS, "white_noise": {**EACH_DRAW, "amplitude": None, "snr": 10.0}},
        {**ALL_DRAWS, "white_noise": {**EACH_DRAW, "amplitude": None, "snr": 20.0}},
        {**ALL_DRAWS, "time_stretch": EACH_DRAW},
        {**ALL_DRAWS, "time_stretch": {**EACH_DRAW, "rate": 0.3}},
        {**ALL_DRAWS, "pitch_shift": EACH_DRAW},
        {**ALL_DRAWS, "pitch_shift": {**EACH_DRAW, "semitones": 1.0}},
        {**ALL_DRAWS, "gain": EACH_DRAW},
        {**ALL_DRAWS, "gain": {**EACH_DRAW, "decibels": 20.0}},
        {**ALL_DRAWS, "impulse_response": {**EACH_DRAW, "folder": "RECORDINGS"}},
        {**ALL_DRAWS, "impulse_response": {**EACH_DRAW, "folder": "RECORDINGS", "wet": 0.3}},
        {**ALL_DRAWS, "background_noise": {**EACH_DRAW, "folder": "RECORDINGS"}},
        {**ALL_DRAWS, "background_noise": {**EACH_DRAW, "folder": "RECORDINGS", "snr": 0.0}},
        {**ALL_DRAWS, "spec_augment": EACH_DRAW},
        {**ALL_DRAWS, "spec_augment": {**EACH_DRAW, "time_masks": 9}},
        {**ALL_DRAWS, "spec_augment": {**EACH_DRAW, "time_width": 0.5}},
        {**ALL_DRAWS, "spec_augment": {**EACH_DRAW, "frequency_masks": 0}},
        {**ALL_DRAWS, "spec_augment": {**EACH_DRAW, "frequency_width": 0.9}},
        {"preset": "paper", "copies": "all"},
    ],
    ids=str,
)
def test_each_option_of_the_augmentation_changes_what_is_learnt(
    run: Run, recordings: str, seen: list[dict[str, torch.Tensor]], augmentation: dict[str, Any]
) -> None:
    named = {
        key: {**value, "folder": recordings} if isinstance(value, dict) and "folder" in value else value
        for key, value in augmentation.items()
    }
    # Exposure is the same in all of them: what differs is what the draws sound like.
    learnt = weights(run(augmentation=named, data={"sampling": FIXED_SHARES}))
    assert not any(equal(learnt, other) for other in seen)
    seen.append(learnt)


FIXED_SHARES = {"shares": {"gl": 2.0, "es": 1.0, "en": 1.0}}


@pytest.fixture(scope="module")
def seen() -> list[dict[str, torch.Tensor]]:
    return []


@pytest.mark.parametrize(
    "augmentation",
    [
        {**NOISY, "strength": 0.0},
        {**NOISY, "copies": 0},
        {**ALL_DRAWS, "white_noise": {"probability": 0.0}},
        {"copies": 3},
        {**ALL_DRAWS, "time_stretch": {**EACH_DRAW, "rate": 0.0}, "pitch_shift": {**EACH_DRAW, "semitones": 0.0}},
    ],
    ids=str,
)
def test_an_augmentation_that_is_off_is_none_to_the_bit(
    run: Run, plain: dict[str, torch.Tensor], augmentation: dict[str, Any]
) -> None:
    assert equal(weights(run(augmentation=augmentation)), plain)


def test_recordings_that_can_not_be_read_are_reported_as_a_failure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    noise = {**EACH_DRAW, "folder": str(tmp_path)}
    (report,) = run(augmentation={**ALL_DRAWS, "background_noise": noise}).reports
    assert "augmentation.background_noise.folder: recordings must be whole" in report["failure"]


def test_copies_count_in_the_temperature(run: Run) -> None:
    """Three copies of gl's 6 utterances beside 20 and 20: its share goes from 13 to 37 %."""
    training = {"steps": 1, "batch_size": 32}
    noise = {"probability": 1e-9}
    sessions = [run(training=training, augmentation={"copies": copies, "white_noise": noise}) for copies in (0, 3)]
    drawn = [session.reports[-1]["utterances_seen/gl"] for session in sessions]
    assert drawn == [pytest.approx(32 * 6 / 46, abs=1), pytest.approx(32 * 24 / 64, abs=1)]


def test_a_resumed_training_goes_on_with_the_same_augmentation(run: Run) -> None:
    settings: dict[str, Any] = {
        "training": {"steps": 4, "accumulation_steps": 2, "checkpoint_every": 2},
        "augmentation": {"preset": "paper", "copies": 1, "spec_augment": EACH_DRAW, "white_noise": EACH_DRAW},
    }
    whole = run(**settings)
    assert equal(weights(run(resume=whole, at="step-00000002", **settings)), weights(whole))


SAYINGS: dict[str, Callable[[str], str]] = {
    "gl": lambda text: f"{text.upper()} mar" if " " in text else text,
    "es": lambda text: f"{text} {'mar ' * 40}",
    "en": lambda text: text.replace("a", "o", 1),
}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, inputs: Path) -> dict[str, tuple[list[str], list[str]]]:
    """The models say what `SAYINGS` makes of each text of dev; returned are references and hypotheses by language."""

    def evaluate(*given: Any, **_: Any) -> list[UtteranceResult]:
        _model, _tokenizer, utterances, _load, settings = given
        texts = [SAYINGS[one.language](one.text) for one in utterances]
        heard = [Transcription(text, False, False, "gl") for text in texts]
        return [scored(*one, settings) for one in zip(utterances, heard, strict=True)]

    monkeypatch.setattr("raywce.training.dev.evaluate_utterances", evaluate)
    found = {}
    for language, say in SAYINGS.items():
        (table,) = (pq.read_table(path) for path in (inputs / "dev" / language).glob("*.parquet"))
        texts = table["text"].to_pylist()
        found[language] = texts, [say(text) for text in texts]
    return found


def lowered(texts: tuple[list[str], list[str]]) -> tuple[list[str], list[str]]:
    """As the normaliser leaves them: the corpus has neither capitals nor punctuation."""
    references, hypotheses = texts
    return references, [" ".join(text.lower().split()) for text in hypotheses]


def capped(references: list[str], hypotheses: list[str]) -> float:
    """The WER with at most as many errors as words in each utterance."""
    words = [len(text.split()) for text in references]
    wrong = [min(jiwer.wer(*one), 1.0) for one in zip(references, hypotheses, strict=True)]
    return sum(rate * count for rate, count in zip(wrong, words, strict=True)) / sum(words)


def test_rates_are_those_of_what_the_model_says(run: Run, said: dict[str, tuple[list[str], list[str]]]) -> None:
    last = run(evaluation={"metric": "wer_normalized", "capped": False, "identify_language": True}).reports[-1]
    for language, texts in said.items():
        normalized = lowered(texts)
        assert last[f"wer/{language}"] == pytest.approx(jiwer.wer(*normalized))
        assert last[f"cer/{language}"] == pytest.approx(jiwer.cer(*normalized))
        assert last[f"wer_raw/{language}"] == pytest.approx(jiwer.wer(*texts))
        assert last[f"language_identification/{language}"] == (language == "gl")
    assert last["objective"] == last["wer/gl"]
    assert len({last[f"wer/{language}"] for language in said}) == 3
    assert last["wer/gl"] != last["cer/gl"]


def test_the_metric_is_the_one_asked_for(run: Run, said: dict[str, tuple[list[str], list[str]]]) -> None:
    last = run(evaluation={"metric": "wer_raw", "normalizer": "whisper_basic", "capped": False}).reports[-1]
    for language, texts in said.items():
        assert last[f"wer/{language}"] == pytest.approx(jiwer.wer(*texts))
        assert last[f"cer/{language}"] == pytest.approx(jiwer.cer(*texts))
    assert jiwer.wer(*said["gl"]) != jiwer.wer(*lowered(said["gl"]))
    assert last["objective"] == last["wer/gl"]
    assert pq.read_table(last["utterances"])["normalizer"][0].as_py().startswith("whisper_basic/")


def test_a_capped_rate_counts_no_more_errors_than_words(run: Run, said: dict[str, tuple[list[str], list[str]]]) -> None:
    last = run(evaluation={"metric": "wer_normalized", "capped": True}).reports[-1]
    for language, texts in said.items():
        assert last[f"wer/{language}"] == pytest.approx(capped(*lowered(texts)))
        assert last[f"wer_normalized/{language}"] == pytest.approx(jiwer.wer(*lowered(texts)))
    assert last["wer/es"] == 1.0 < last["wer_normalized/es"]


def test_a_training_by_itself_has_the_geometric_mean_of_a_wer_and_a_cer(
    run: Run, said: dict[str, tuple[list[str], list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raywce.evaluation.metric.separates_words", lambda language: language != "en")
    languages = {"low_resource": ["gl", "en"], "high_resource": ["es"]}
    last = run(languages=languages, evaluation={"metric": "auto", "capped": False}).reports[-1]
    rates = jiwer.wer(*lowered(said["gl"])), jiwer.cer(*lowered(said["en"]))
    assert last["objective"] == pytest.approx((rates[0] * rates[1]) ** 0.5)
    assert rates[0] != rates[1]


def test_a_training_by_itself_has_the_mean_of_its_low_resource_languages(
    run: Run, said: dict[str, tuple[list[str], list[str]]]
) -> None:
    languages = {"low_resource": ["gl", "en"], "high_resource": ["es"]}
    last = run(languages=languages, evaluation={"metric": "wer_normalized", "capped": False}).reports[-1]
    assert last["objective"] == pytest.approx(sum(jiwer.wer(*lowered(said[name])) for name in ("gl", "en")) / 2)


def test_alphas_in_force_are_reported(run: Run) -> None:
    session = run(
        weighting={"kind": "linear_progressive", "alpha_initial": 2.0, "alpha_final": 4.0, "ramp_start": 0.5},
        training={"log_every": 1},
    )
    assert [report["alpha/gl"] for report in session.reports] == [1.0, 1.0, 2.0, 3.0]


def test_a_language_takes_the_token_of_another(run: Run, inputs: Path, tmp_path: Path) -> None:
    folder = write_tiny_corpus(tmp_path / "asturian", {"ast": 6, "es": 6}, {"ast": 2, "es": 2})
    session = run(
        data={"folder": str(folder)},
        languages={"low_resource": ["ast"], "high_resource": ["es"], "language_tokens": {"ast": "es"}},
    )
    table = pq.read_table(session.reports[-1]["utterances"])
    assert set(zip(table["language"].to_pylist(), table["language_token"].to_pylist(), strict=True)) == {
        ("ast", "es"),
        ("es", "es"),
    }


@pytest.mark.parametrize(
    "shape",
    [{}, {"encoder_layers": 3}, {"encoder_layers": 3, "d_model": 32, "decoder_ffn_dim": 64}],
    ids=["large-v3", "large-v3-turbo", "distil-large-v3"],
)
@pytest.mark.parametrize("lora", [{}, {"rank": 2}])
def test_models_of_today_are_trained_and_decoded(
    run: Run, tmp_path: Path, shape: dict[str, int], lora: dict[str, int]
) -> None:
    """Of 128 mel bins, with Cantonese, and a decoder that is smaller than the encoder."""
    whisper = write_tiny_whisper(tmp_path / "v3", ["en", "yue"], chunk_length=3, num_mel_bins=128, **shape)
    write_tiny_corpus(tmp_path / "cantonese", {"yue": 6, "en": 6}, {"yue": 2, "en": 2})
    session = run(
        model={"checkpoint": str(whisper), "lora": lora},
        data={"folder": str(tmp_path / "cantonese"), "cache": str(tmp_path / "cache")},
        languages={"low_resource": ["yue"], "high_resource": ["en"]},
    )
    assert session.steps("wer/yue") == [4]
    again = load_model(str(session.folder / "step-00000004"))
    assert not equal(again.state_dict(), load_model(str(whisper)).state_dict())
    assert again.config.num_mel_bins == 128


def test_a_language_gets_a_token_of_its_own(run: Run, inputs: Path, tmp_path: Path) -> None:
    write_tiny_corpus(tmp_path / "asturian", {"ast": 6, "es": 6}, {"ast": 2, "es": 2})
    session = run(
        data={"folder": str(tmp_path / "asturian"), "cache": str(tmp_path / "cache")},
        languages={"low_resource": ["ast"], "high_resource": ["es"], "language_tokens": {"ast": {"new_like": "es"}}},
    )
    trained = load_model(str(session.folder / "step-00000004"))
    ids, before = trained.generation_config.lang_to_id, load_model(str(inputs / "model"))
    own, other = (trained.get_input_embeddings().weight[ids[f"<|{name}|>"]] for name in ("ast", "es"))
    assert not torch.equal(own, other), "each has learnt by its own utterances"
    first = before.get_input_embeddings().weight[before.generation_config.lang_to_id["<|es|>"]]
    assert (own - first).norm() < first.norm()
    assert session.reports[-1]["wer/ast"] is not None


def test_a_watched_language_is_decoded_and_nothing_is_learnt_from_it(run: Run, tmp_path: Path) -> None:
    folder = write_tiny_corpus(tmp_path / "speech", {"gl": 6, "es": 6}, {"gl": 2, "es": 2, "en": 2})
    data, of = {"folder": str(folder)}, {"low_resource": ["gl"], "high_resource": ["es"]}
    training = {"steps": 2, "evaluate_at_start": True}
    plain = run(data=data, languages={**of, "watched": []}, training=training)
    watched = run(data=data, languages={**of, "watched": ["en"]}, training=training)
    assert watched.steps("wer/en") == [0, 2]
    assert {key for report in watched.reports for key in report if key in ("loss/en", "utterances_seen/en")} == set()
    assert set(pq.read_table(watched.reports[-1]["utterances"])["language"].to_pylist()) == {"gl", "es", "en"}
    assert equal(weights(watched, "step-00000002"), weights(plain, "step-00000002"))
    assert watched.reports[-1]["objective"] == plain.reports[-1]["objective"]


def test_what_can_not_be_trained_is_reported_as_a_failure(run: Run, tmp_path: Path) -> None:
    (report,) = run(data={"folder": str(tmp_path / "none")}).reports
    assert "must be a folder that `raywce prepare` wrote" in report["failure"]
    diverged = run(training={"optimizer": {"learning_rate": 1e30}}).reports[-1]
    assert "step " in diverged["failure"]
    assert "-train-" in diverged["failure"]


def test_utterances_beyond_the_label_limit_are_left_out_and_counted(run: Run, inputs: Path, tmp_path: Path) -> None:
    small = write_tiny_whisper(tmp_path / "small", chunk_length=3, max_target_positions=16)
    session = run(model={"checkpoint": str(small)})
    counts = {name: session.reports[-1][f"left_out/{name}"] for name in ("gl", "es", "en")}
    for language, count in counts.items():
        texts = pq.read_table(inputs / "train" / language)["text"].to_pylist()
        # One token a byte here: language, task, no timestamps, a space, the text, the end.
        assert count == sum(len(text.encode()) + 5 > 16 for text in texts)
    assert sum(counts.values()) > 0


def test_the_parts_of_dev_are_decoded_apart(run: Run) -> None:
    def decoded(part: str) -> set[str]:
        last = run(training={"steps": 1}, evaluation={"part": part}).reports[-1]
        return set(pq.read_table(last["utterances"])["id"].to_pylist())

    every, search, confirm = (decoded(part) for part in ("all", "search", "confirm"))
    assert len(every) == 6
    assert len(search) == len(confirm) == 3  # one of two of each language
    assert search | confirm == every


def test_utterances_beyond_a_fixed_context_are_left_out_and_counted(run: Run, inputs: Path) -> None:
    last = run(training={"steps": 1, "encoder_context": 1.5}).reports[-1]
    for language in ("gl", "es", "en"):
        durations = pq.read_table(inputs / "train" / language)["duration"].to_pylist()
        assert last[f"beyond_context/{language}"] == sum(seconds > 1.5 for seconds in durations)
        assert last[f"left_out/{language}"] == 0
    (report,) = run(training={"encoder_context": 0.1}).reports
    assert "0.1 s, but got none of" in report["failure"]


def test_a_resumed_training_with_short_contexts_is_the_undisturbed_one(run: Run) -> None:
    settings = {"training": {"steps": 4, "checkpoint_every": 2, "encoder_context": "batch"}}
    whole = run(**settings)
    assert equal(weights(run(resume=whole, at="step-00000002", **settings)), weights(whole))


def test_intermediate_evaluations_decode_a_part_of_dev_and_start_and_end_all_of_it(run: Run) -> None:
    training = {"evaluate_every": 1, "evaluate_at_start": True}
    session = run(training=training, evaluation={"intermediate_share": 0.5})
    decoded = {report["step"]: set(pq.read_table(report["utterances"])["id"].to_pylist()) for report in session.reports}
    assert [len(ids) for ids in decoded.values()] == [6, 3, 3, 3, 6]
    assert decoded[1] == decoded[2] == decoded[3]
    assert [report["intermediate"] for report in session.reports] == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("share", "counts"),
    [
        (None, {1: 1, 200: 200, 201: 200, 800: 200, 801: 201, 7000: 1750}),
        (0.5, {1: 1, 7: 4, 200: 100}),
        (1.0, {1: 1, 7000: 7000}),
    ],
)
def test_an_intermediate_evaluation_takes_a_quarter_but_enough_of_each_language(
    share: float | None, counts: dict[int, int]
) -> None:
    evaluation = schema.Evaluation(intermediate_share=share)
    assert {utterances: evaluation.intermediate_count(utterances) for utterances in counts} == counts


def test_each_context_of_the_evaluation_gives_its_own_figures(run: Run, tmp_path: Path) -> None:
    talking = {"checkpoint": str(write_talking_whisper(tmp_path / "talking"))}
    hardly = {"steps": 1, "optimizer": {"learning_rate": 1e-9}}

    def last(**evaluation: Any) -> dict[str, Any]:
        return run(model=talking, training=hardly, evaluation=evaluation).reports[-1]

    reports = (last(), last(encoder_context="batch"), last(encoder_context="batch", context_margin=0))
    full, batch, close = (pq.read_table(report["utterances"])["hypothesis"].to_pylist() for report in reports)
    assert full != batch
    assert close not in (full, batch)


@pytest.mark.parametrize(
    ("model", "training", "evaluation"),
    [
        ({}, {"precision": "bf16"}, {}),
        ({"lora": {"rank": 4}}, {"optimizer": {"learning_rate": 1e-3}}, {}),
        ({}, {"precision": "bf16"}, {"precision": "fp32"}),
        ({}, {}, {"precision": "bf16", "encoder_context": "batch", "context_margin": 1.0, "identify_language": True}),
    ],
)
def test_dev_is_decoded_as_test_and_raywce_evaluate_decode(
    run: Run,
    inputs: Path,
    tmp_path: Path,
    model: dict[str, Any],
    training: dict[str, Any],
    evaluation: dict[str, Any],
) -> None:
    talking = {"checkpoint": str(write_talking_whisper(tmp_path / "talking"))}
    changes = {
        "model": {**talking, **model},
        "training": {"steps": 1, "optimizer": {"learning_rate": 1e-5}, **training},
        "evaluation": {"batch_size": 4, "normalizer": "whisper_basic", **evaluation},
    }
    session = run(**changes)
    settings = Experiment.model_validate(_tree(inputs, changes)).decode_settings
    again = run_evaluation(
        Evaluation(
            model=str(session.folder / "step-00000001"),
            data=str(inputs),
            split="dev",
            languages=("gl", "es", "en"),
            cache=inputs / "cache",
            settings=settings,
        )
    )
    dev = pq.read_table(session.reports[-1]["utterances"])
    assert dev.to_pylist() == again.to_pylist()
    assert any(dev["hypothesis"].to_pylist())
    assert (dev["detected_language"].null_count == 0) is settings.identify_language


def test_the_precision_of_the_evaluation_is_its_own_or_the_trainings() -> None:
    def precision(training: str, evaluation: str | None) -> str:
        sections = {"training": {"steps": 1, "precision": training}, "evaluation": {"precision": evaluation}}
        tree = {**_tree(Path("inputs"), {}), **sections}
        return Experiment.model_validate(tree).decode_settings.precision

    assert precision("bf16", None) == "bf16"
    assert precision("bf16", "fp32") == "fp32"
    assert precision("fp32", "bf16") == "bf16"


def test_skipped_steps_and_the_scale_are_reported_of_half_precision(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    training: dict[str, Any] = {"precision": "fp16", "log_every": 1}
    assert [report["skipped_steps"] for report in run(training=training).reports] == [0, 0, 0, 0]
    monkeypatch.setattr("torch.amp.GradScaler", functools.partial(torch.amp.GradScaler, init_scale=2.0**60))
    reports = run(training=training).reports
    assert [(report["skipped_steps"], report["loss_scale"]) for report in reports] == [
        (1, 2.0**59),
        (1, 2.0**58),
        (1, 2.0**57),
        (1, 2.0**56),
    ]
    assert run(training={**training, "log_every": 10}).reports[-1]["skipped_steps"] == 4
    assert not {"skipped_steps", "loss_scale"} & run().reports[-1].keys()


def test_a_resumed_training_in_half_precision_goes_on_with_its_scale(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"training": {"precision": "fp16", "log_every": 1, "checkpoint_every": 2}}
    monkeypatch.setattr("torch.amp.GradScaler", functools.partial(torch.amp.GradScaler, init_scale=2.0**60))
    whole = run(**settings)
    assert run(resume=whole, at="step-00000002", **settings).reports[-1]["loss_scale"] == 2.0**56


def test_the_precision_that_auto_stands_for_is_reported(
    run: Run, plain: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(training={"precision": "bf16"}).reports[-1]["precision"] == "bf16"
    monkeypatch.setattr("raywce.precision._CPU_FLAGS", set())
    auto = run(training={"precision": "auto"})
    assert auto.reports[-1]["precision"] == "fp32"
    assert "warning" not in auto.reports[-1]
    assert equal(weights(auto), plain)


@pytest.mark.parametrize("section", ["training", "evaluation"])
def test_auto_that_differs_between_the_workers_ends_the_trial(
    run: Run, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    monkeypatch.setattr("raywce.precision._CPU_FLAGS", set())  # fp32 on this rank
    monkeypatch.setattr(setup, "on_all_ranks", lambda own: [own, "bf16"] if own else [own, own])
    (report,) = run(**{section: {"precision": "auto"}}).reports
    assert str(report["failure"]).startswith(f"{section}.precision: auto must be the same")
    assert "fp32 on rank 0, bf16 on rank 1" in str(report["failure"])
    assert run(training={"precision": "fp32"}).reports[-1]["final"]


def test_what_a_card_lacks_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raywce.training.setup.shortcoming", lambda precision, device: f"{precision} on {device}")
    assert run(training={"precision": "bf16"}).reports[-1]["warning"] == "bf16 on cpu"


def _raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("place", "error", "said"),
    [
        (
            "raywce.training.step.Stepper.gradients",
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
            "a step with 2 utterances at once and an encoder context of 3 s: CUDA out of memory. "
            "Lower training.batch_size, raise training.accumulation_steps, or set training.encoder_context: batch or "
            "model.gradient_checkpointing: true",
        ),
        (
            "raywce.training.loop.update",
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            "a step with 2 utterances at once and an encoder context of 3 s: CUDA error: CUBLAS_STATUS_ALLOC_FAILED",
        ),
        (
            "raywce.training.dev.DevSet.evaluate",
            RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
            "decoding 8 utterances of dev at once (encoder context: full): cuDNN error: CUDNN_STATUS_NOT_INITIALIZED. "
            "Lower evaluation.batch_size",
        ),
        (
            "raywce.training.setup.make_optimizer",
            torch.OutOfMemoryError("CUDA out of memory"),
            "opening the model and the data: CUDA out of memory. Lower training.batch_size",
        ),
        ("raywce.training.setup.Worker.wrapped", MemoryError(), "the training: MemoryError. Lower training.batch_size"),
    ],
)
def test_too_little_memory_is_said_with_the_batch_and_what_to_lower(
    run: Run, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception, said: str
) -> None:
    monkeypatch.setattr(place, _raising(error))
    with pytest.raises(OutOfMemory, match=re.escape(f"out of memory in {said}")):
        run(training={"accumulation_steps": 2})


def test_ranks_wait_for_each_other_s_data_before_the_process_group_is_used(
    run: Run, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node's first copy takes as long as it takes; what the group waits for is limited."""
    order: list[str] = []
    opened, agreed = setup.Worker._open_data, setup.on_any_rank
    monkeypatch.setattr(setup.Worker, "_open_data", lambda self: (opened(self), order.append("data"))[0])
    monkeypatch.setattr(setup, "on_any_rank", lambda problem: (order.append("group"), agreed(problem))[1])
    monkeypatch.setattr(Session, "wait_for_all", lambda self: order.append("barrier"))
    run(training={"steps": 1})
    assert order == ["data", "barrier", "group"]
    order.clear()
    run(data={"folder": str(inputs / "none")})  # a rank without its data waits too
    assert order == ["barrier", "group"]


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model without dropout, whose encoder has the same states each time."""
    folder = tmp_path_factory.mktemp("steady")
    write_tiny_whisper(folder, chunk_length=3)
    return str(folder)


def test_an_encoder_that_is_not_trained_is_computed_once_and_its_losses_are_the_same(
    run: Run, steady: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = {
        "model": {"checkpoint": steady, "freeze_encoder": True},
        "training": {"log_every": 1, "evaluate_every": 2, "encoder_context": "batch"},
        "data": {"cache": str(tmp_path / "cache")},
    }
    kept = run(**frozen)
    read = Utterances.audio
    monkeypatch.setattr(Utterances, "audio", lambda self, index: pytest.fail("it was encoded already"))
    again = run(**frozen)
    assert equal(weights(kept), weights(again))
    monkeypatch.setattr(Utterances, "audio", read)
    monkeypatch.setattr("raywce.training.setup.fits", lambda needed, cache: False)
    plain = run(**frozen)
    assert len(kept.reports) == len(plain.reports) == 4
    for one, other in zip(kept.reports, plain.reports, strict=True):
        for name in (name for name in one if name.startswith("loss/")):
            assert one[name] == pytest.approx(other[name], rel=1e-3)
    assert "no room in" in plain.reports[0]["warning"]
    assert "warning" not in kept.reports[0]


@pytest.mark.parametrize(
    ("changes", "splits"),
    [({}, 2), ({"augmentation": {"white_noise": {"probability": 1.0}}}, 1), ({"model": {"freeze_encoder": False}}, 0)],
)
def test_states_are_kept_of_audio_that_does_not_change(
    run: Run, steady: str, tmp_path: Path, changes: dict[str, Any], splits: int
) -> None:
    model = {"checkpoint": steady, "freeze_encoder": True} | changes.get("model", {})
    augmentation = {"augmentation": changes["augmentation"]} if "augmentation" in changes else {}
    run(model=model, data={"cache": str(tmp_path / "cache")}, training={"steps": 1}, **augmentation)
    kept = tmp_path / "cache" / "encoder_states"
    assert len(list(kept.iterdir()) if kept.exists() else []) == splits
