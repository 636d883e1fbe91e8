from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor, GenerationConfig, WhisperForConditionalGeneration
from typer.testing import CliRunner

from raywce.cli import app
from raywce.errors import InputError, RunFailed
from raywce.export import convert, hub
from raywce.export.benchmarks import entries
from raywce.export.card import model_card
from raywce.export.folder import check_out, export
from raywce.export.source import find_source
from raywce.lora import LoraSettings, add_adapter
from raywce.model import load_average, load_model, save_model
from raywce.runs.folder import EXPERIMENT
from raywce.selection.robustness import Measures, RobustnessFigures
from raywce.training.checkpoint import STATE_FILE
from tests.export.runs import SearchRun
from tests.older_file import older
from tests.tiny_whisper import write_tiny_whisper


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that was fine-tuned for Spanish alone before."""
    made = write_tiny_whisper(tmp_path_factory.mktemp("checkpoint") / "model", languages=("gl", "es", "pt", "en"))
    generation = GenerationConfig.from_pretrained(made)
    generation.language, generation.task, generation.forced_decoder_ids = "es", "transcribe", [[1, 259], [2, 358]]
    (made / "generation_config.json").write_text(json.dumps(generation.to_dict()))
    return made


@pytest.fixture(scope="module")
def best(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchRun, Path]:
    run = SearchRun.write(tmp_path_factory.mktemp("best"), checkpoint)
    out = run.folder.local.parent / "out"  # type: ignore[union-attr]
    export(find_source(run.folder.uri), out)
    return run, out


def card(out: Path) -> str:
    return (out / "README.md").read_text()


def test_transformers_opens_it_with_the_checkpoints_weights(best: tuple[SearchRun, Path], checkpoint: Path) -> None:
    _, out = best
    weights = WhisperForConditionalGeneration.from_pretrained(checkpoint).state_dict()
    exported = WhisperForConditionalGeneration.from_pretrained(out).state_dict()
    assert all(torch.equal(weights[name], exported[name]) for name in weights)
    assert type(AutoProcessor.from_pretrained(out)).__name__ == "WhisperProcessor"
    assert (out / "model.safetensors").is_file()
    assert not (out / STATE_FILE).exists()


def test_it_generates_in_every_language_of_the_original(best: tuple[SearchRun, Path], checkpoint: Path) -> None:
    before, after = (json.loads((at / "generation_config.json").read_text()) for at in (checkpoint, best[1]))
    assert set(after["lang_to_id"]) == {"<|gl|>", "<|es|>", "<|pt|>", "<|en|>"}
    for name in ("lang_to_id", "task_to_id", "suppress_tokens", "begin_suppress_tokens", "alignment_heads"):
        assert after[name] == before[name], name
    for name in ("language", "task", "forced_decoder_ids"):
        assert before[name]
        assert after.get(name) is None, name


def test_the_card_of_a_best_trial_claims_no_more_than_its_figures(best: tuple[SearchRun, Path]) -> None:
    head = ModelCard(card(best[1])).data
    assert (head.language, head.base_model, head.metrics) == (["gl", "es", "pt"], "openai/whisper-tiny", ["wer", "cer"])
    results = {one.dataset_config: (one.dataset_split, one.metric_value) for one in head.eval_results}
    assert results == {"gl": ("dev", 41.0), "es": ("dev", 21.0), "pt": ("dev", 20.0)}, "the plain WER"
    text = card(best[1])
    assert "capped WER in %, normalised" in text
    assert "Capped: an utterance counts at most as many errors as its reference has words." in text
    assert "| gl | 60.00 | 50.00 | 40.00 |" in text
    assert "`words/4`" in text
    assert "the best feasible trial of a search (`search-1`), after step 20" in text
    assert "not confirmed" in text
    assert "alpha: 3.0" in text
    assert "none are of the test split" in text
    assert "| gl | unknown | unknown | unknown | 7 |" in text
    assert str(best[1].parent) not in text, "where it is on the machine is nobody's business"


def test_the_card_of_a_confirmed_winner_has_intervals_and_the_test_split(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path / "run", checkpoint, confirm=True)
    out = tmp_path / "out"
    export(find_source(run.folder.uri), out)
    comparison = json.loads(run.folder.read_text("outcome.json"))["confirmation"]["tests"]["test"]
    winner = comparison["candidates"]["candidate-1"]["wer"]["gl"]
    interval = "{:.2f} [{:.2f}, {:.2f}]".format(*(100 * winner[name] for name in ("value", "low", "high")))
    text = card(out)
    (row,) = [line for line in text.splitlines() if line.startswith("| gl |") and interval in line]
    assert row.endswith("| 37.00 |"), "this model's own"
    assert text.index("the test split, opened once") < text.index("dev, speakers held out of the search")
    assert "95 % intervals over speech and seeds" in text
    assert "is better than the baseline, with 95 % confidence" in text
    assert "seed: 1" in text
    assert "averaged" not in text
    assert {one.dataset_split for one in ModelCard(text).data.eval_results} == {"dev", "test"}


def test_an_average_is_written_with_its_own_figures(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path / "run", checkpoint, confirm=True)
    run.average()
    places = [Path(run.folder.path("trials", f"confirm-candidate-1-{seed}", "step-00000020")) for seed in (1, 2, 3)]
    for number, place in enumerate(places):
        tuned = load_file(place / "model.safetensors")
        save_file({name: tensor + 0.01 * number for name, tensor in tuned.items()}, place / "model.safetensors")
    export(find_source(run.folder.uri), tmp_path / "out")
    states = [load_file(place / "model.safetensors") for place in places]
    for name, mean in load_file(tmp_path / "out" / "model.safetensors").items():
        torch.testing.assert_close(mean, torch.stack([state[name] for state in states]).mean(dim=0))
    text = card(tmp_path / "out")
    assert "This is the average of the weights of several trainings" in text
    assert "The trainings that are averaged have the seeds 1, 2, 3; the seed above" in text
    assert "This model keeps every language's limit and is better than the same average of the baseline's" in text
    assert "95 % intervals over speech and seeds; averages of the weights over 3 seeds, the baseline's too" in text
    found = json.loads(run.folder.read_text("outcome.json"))["confirmation"]["averaged"]
    for figures in (found["tests"]["test"], found["dev"]):
        wer = figures["candidates"]["candidate-1"]["wer"]["gl"]
        assert "{:.2f} [{:.2f}, {:.2f}]".format(*(100 * wer[name] for name in ("value", "low", "high"))) in text
    results = {(one.dataset_split, one.dataset_config): one.metric_value for one in ModelCard(text).data.eval_results}
    assert (results["test", "gl"], results["dev", "gl"]) == (32.0, 30.0)


def tuned(folder: Path, base: Path, seed: int = 0) -> Path:
    """An adapter of `base` as a training leaves it, with draws of `seed`."""
    model = load_model(str(base))
    add_adapter(model, LoraSettings(2, 4, 0.0, ["q_proj", "fc1"]), seed)
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=draws))
    save_model(model, str(base), folder)
    return folder


def same(one: WhisperForConditionalGeneration, other: WhisperForConditionalGeneration) -> None:
    for name, weight in one.state_dict().items():
        torch.testing.assert_close(weight, other.state_dict()[name], msg=name)


def test_an_adapter_is_merged_or_kept(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path / "run", tuned(tmp_path / "adapter", checkpoint))
    source = find_source(run.folder.uri)
    export(source, tmp_path / "merged")
    assert not list((tmp_path / "merged").glob("adapter*"))
    expected = load_model(source.checkpoint)
    same(WhisperForConditionalGeneration.from_pretrained(tmp_path / "merged"), expected)
    generation = json.loads((tmp_path / "merged" / "generation_config.json").read_text())
    assert all(generation.get(name) is None for name in ("language", "task", "forced_decoder_ids"))
    assert ModelCard(card(tmp_path / "merged")).data.library_name == "transformers"

    export(source, tmp_path / "kept", adapter=True)
    assert not (tmp_path / "kept" / "model.safetensors").exists()
    base = WhisperForConditionalGeneration.from_pretrained(checkpoint)
    same(PeftModel.from_pretrained(base, str(tmp_path / "kept")).merge_and_unload(), expected)
    text = card(tmp_path / "kept")
    assert ModelCard(text).data.library_name == "peft"
    assert "This folder holds an adapter (LoRA)" in text
    assert 'PeftModel.from_pretrained(base, "FOLDER").merge_and_unload()' in text
    assert 'WhisperForConditionalGeneration.from_pretrained("openai/whisper-tiny", dtype="float32")' in text


def test_an_average_of_adapters_is_merged_or_kept(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path / "run", tuned(tmp_path / "adapter", checkpoint), confirm=True)
    run.average()
    places = [run.folder.path("trials", f"confirm-candidate-1-{seed}", "step-00000020") for seed in (1, 2, 3)]
    for seed, place in enumerate(places):
        tuned(Path(place), checkpoint, seed)
    source, expected = find_source(run.folder.uri), load_average(places)
    export(source, tmp_path / "merged")
    same(load_model(str(tmp_path / "merged")), expected)
    export(source, tmp_path / "kept", adapter=True)
    assert not (tmp_path / "kept" / "model.safetensors").exists()
    same(load_model(str(tmp_path / "kept")), expected)


def test_an_adapter_is_kept_where_there_is_one_and_pushed_where_others_find_its_model(
    best: tuple[SearchRun, Path], tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "out")
    assert "--adapter: the model must be trained with LoRA" in told(best[0].folder.uri, out, "--adapter")
    run = SearchRun.write(tmp_path / "run", tuned(tmp_path / "adapter", checkpoint))
    text = told(run.folder.uri, out, "--adapter", "--ctranslate2")
    assert "--ctranslate2: must be left out with --adapter" in text
    local = run.folder.read_text(EXPERIMENT).replace("openai/whisper-tiny", str(checkpoint))
    run.folder.write_text(EXPERIMENT, local)
    monkeypatch.setattr(hub, "get_token", lambda: "hf_token")
    assert "must be of a model on the Hub" in told(run.folder.uri, out, "--adapter", "--push", "me/galician")
    assert not Path(out).exists()


def test_the_card_has_what_was_measured_of_robustness(tmp_path: Path, checkpoint: Path) -> None:
    source = find_source(SearchRun.write(tmp_path / "run", checkpoint, confirm=True).folder.uri)
    assert "**Robustness**" not in model_card(source, 444)
    assert "translation, time stamps and speech longer than the model's window were not evaluated" in model_card(
        source, 444
    )
    models = {
        name: {
            "gl": Measures(
                nothing=0.5, sentences=0.3, long_form=long, loops=0, language_identification=None, timestamps=None
            )
        }
        for name, long in {"original": 0.5, "a": 0.4, "b": 0.45}.items()
    }
    assert source.outcome
    assert source.outcome.confirmation
    confirmation = replace(source.outcome.confirmation, robustness=RobustnessFigures(models, "b", ["gl: it talks"]))
    text = model_card(replace(source, outcome=replace(source.outcome, confirmation=confirmation)), 444)
    assert "| WER of long-form speech, in one piece | gl | 50.00 | 40.00 | 45.00 |" in text
    assert "| clips of silence or noise with text | gl | 50.00 | 50.00 | 50.00 |" in text
    assert "Other speech, other languages of Whisper, translation and time stamps were not evaluated." in text
    assert "It breaks a limit of robustness: gl: it talks." in text


@pytest.mark.parametrize("confirm", [False, True])
def test_the_card_of_a_search_by_characters_says_so(tmp_path: Path, checkpoint: Path, confirm: bool) -> None:
    run = SearchRun.write(tmp_path / "run", checkpoint, confirm=confirm, metric="cer_normalized")
    export(find_source(run.folder.uri), tmp_path / "out")
    text = card(tmp_path / "out")
    assert "## Character error rates\n\ncapped CER in %, normalised, by `words/4`, corpus-level" in text
    assert "Capped: an utterance counts at most as many errors as its reference has characters." in text
    results = ModelCard(text).data.eval_results
    assert {(one.metric_type, one.metric_name) for one in results} == {("cer", "CER in %, cer_normalized")}
    dev = {one.dataset_config: one.metric_value for one in results if one.dataset_split == "dev"}
    assert dev["gl"] == (18.5 if confirm else 21.0), "the plain CER"


def test_the_card_marks_each_language_where_some_are_judged_by_characters(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path / "run", checkpoint)
    source = find_source(run.folder.uri)
    languages = source.experiment.languages.model_copy(update={"high_resource": ["es", "ja"]})
    evaluation = source.experiment.evaluation.model_copy(update={"metric": "auto"})
    experiment = source.experiment.model_copy(update={"languages": languages, "evaluation": evaluation})
    last = {**source.last, "wer/ja": 0.9, "cer/ja": 0.19, "cer_normalized/ja": 0.2}
    text = model_card(replace(source, experiment=experiment, rows=[last], outcome=None), 444)
    assert (
        "## Word and character error rates\n\ncapped WER or CER in %, CER of ja, WER of the others, normalised" in text
    )
    assert "| ja (CER) | 19.00 |" in text
    assert "| es (WER) | 20.00 |" in text
    kinds = {one.dataset_config: (one.metric_type, one.metric_value) for one in ModelCard(text).data.eval_results}
    assert kinds == {"gl": ("wer", 41.0), "es": ("wer", 21.0), "ja": ("cer", 20.0)}


@pytest.mark.parametrize("confirm", [False, True])
def test_the_card_has_watched_languages_apart(tmp_path: Path, checkpoint: Path, confirm: bool) -> None:
    run = SearchRun.write(tmp_path / "run", checkpoint, confirm=confirm, watched=True)
    export(find_source(run.folder.uri), tmp_path / "out")
    text = card(tmp_path / "out")
    assert "without harming es, pt.\nMeasured too, but not trained on: it.\nThis is " in text
    rows = [line for line in text.splitlines() if line.startswith("| it (watched) |")]
    assert rows.pop() == "| it (watched) | not used | unknown | unknown | 0 |"
    assert len(rows) == (2 if confirm else 1), "on dev, and on test where it was opened"
    assert rows[-1].endswith("| 30.00 |")
    head = ModelCard(text).data
    assert head.language == ["gl", "es", "pt"]
    assert {one.dataset_config for one in head.eval_results} == {"gl", "es", "pt", "it"}


def test_a_run_of_an_older_version_is_exported(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path / "run", checkpoint)
    run.folder.write_text(EXPERIMENT, older(run.folder.read_text(EXPERIMENT), evaluation__share_on_the_way=0.5))
    export(find_source(run.folder.uri), tmp_path / "out")
    assert "search-1" in card(tmp_path / "out")


def test_what_prepare_counted_is_in_the_card(tmp_path: Path, checkpoint: Path) -> None:
    source = find_source(SearchRun.write(tmp_path, checkpoint).folder.uri)
    speech = tmp_path / "speech"
    speech.mkdir()
    groups = [{"split": "train", "language": "gl", "utterances": 120, "hours": 1.234}]
    (speech / "prepared.json").write_text(json.dumps({"groups": groups}))
    data = source.experiment.data.model_copy(update={"folder": str(speech)})
    moved = source.experiment.model_copy(update={"data": data})
    export(replace(source, experiment=moved), tmp_path / "out")
    assert "| gl | 120 (1.23 h) | unknown | unknown | 7 |" in card(tmp_path / "out")


def test_what_breaks_on_the_way_leaves_nothing(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SearchRun.write(tmp_path / "run", checkpoint)

    def no_space(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(convert, "convert", no_space)
    with pytest.raises(OSError, match="No space"):
        export(find_source(run.folder.uri), tmp_path / "out" / "model", "float32")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_checkpoint_is_named_and_not_exported(tmp_path: Path, checkpoint: Path) -> None:
    run = SearchRun.write(tmp_path / "run", checkpoint)
    source = find_source(run.folder.uri)
    weights = Path(source.checkpoint, "model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"RUN: must hold whole weights, but got {weights} "):
        export(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_out_must_be_new_or_empty_and_here(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert check_out(str(tmp_path / "empty")) == tmp_path / "empty"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for out in (str(tmp_path / "full"), str(tmp_path / "full" / "file"), "s3://bucket/model"):
        with pytest.raises(InputError, match="OUT: must be"):
            check_out(out)


def told(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["export", *arguments])
    assert isinstance(result.exception, InputError), result
    return str(result.exception)


def test_the_command_says_what_it_wrote_and_refuses_what_can_not_be(
    best: tuple[SearchRun, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = best[0].folder.uri, str(tmp_path / "out")
    assert "must be new or empty" in told(run, str(best[1]))
    assert "must come with --ctranslate2" in told(run, out, "--quantization", "int8")
    assert "must come with --push" in told(run, out, "--private")
    assert "must be one of float32" in told(run, out, "--ctranslate2", "--quantization", "int4")
    monkeypatch.setattr(convert, "find_spec", lambda name: None)
    assert "pip install 'raywce[ctranslate2]'" in told(run, out, "--ctranslate2")
    assert not Path(out).exists()
    result = CliRunner().invoke(app, ["export", run, out, "--trial", "search-0"])
    assert result.exit_code == 0, result.output
    assert f"search-0 (by id), step 20: {out}" in result.stdout
    assert "selected by its id" in card(Path(out))


class Hub:
    """Takes what is pushed."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(self, repo_id: str, **options: Any) -> str:
        self.calls.append((repo_id, options))
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(self, **options: Any) -> None:
        if self.refuses:
            raise OSError("403 Forbidden")
        self.calls.append(("upload", options))


def test_results_on_benchmarks_are_where_the_hub_reads_them(tmp_path: Path, checkpoint: Path) -> None:
    run, out = SearchRun.write(tmp_path / "run", checkpoint, confirm=True).folder.uri, str(tmp_path / "out")
    asked = [f"--benchmark=test/{language}=me/speech:{language}_test" for language in ("gl", "es")]
    result = CliRunner().invoke(app, ["export", run, out, *asked])
    assert result.exit_code == 0, result.output
    results = parse_eval_result_entries(yaml.safe_load(Path(out, ".eval_results", "raywce.yaml").read_text()))
    assert [(one.dataset_id, one.task_id) for one in results] == [("me/speech", "gl_test"), ("me/speech", "es_test")]
    of_card = {
        (one.dataset_split, one.dataset_config): one.metric_value
        for one in ModelCard(card(Path(out))).data.eval_results
    }
    assert [one.value for one in results] == [of_card["test", "gl"], of_card["test", "es"]]
    assert results[0].notes == "WER in %, wer_normalized, greedy decoding"
    text = told(run, str(tmp_path / "other"), "--benchmark=gl", "--benchmark=test/fr=a/b:c", "--benchmark=dev/gl=a/b:c")
    assert "must be SPLIT/LANGUAGE=DATASET:TASK, but got gl" in text
    assert "must name a test split and language of this model's card, but got test/fr. Known: test/es, " in text
    assert "but got dev/gl" in text


def test_rates_of_decoding_that_was_stopped_are_no_results_of_a_benchmark(tmp_path: Path, checkpoint: Path) -> None:
    source = find_source(SearchRun.write(tmp_path / "run", checkpoint, confirm=True).folder.uri)
    evaluation = source.experiment.evaluation.model_copy(update={"stop_loops": True})
    stopped = replace(source, experiment=source.experiment.model_copy(update={"evaluation": evaluation}))
    with pytest.raises(InputError, match="must be of a plain rate that was measured to the end"):
        entries(["test/gl=me/speech:gl"], stopped)
    names = {one.metric_name for one in ModelCard(model_card(stopped, 444)).data.eval_results}
    assert names == {"WER in %, wer_normalized, a lower bound, as loops were stopped"}


def test_a_default_language_is_in_neither_configuration(tmp_path: Path, checkpoint: Path) -> None:
    old = Path(shutil.copytree(checkpoint, tmp_path / "old"))
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps(config | {"forced_decoder_ids": [[1, 259], [2, 358]]}))
    run = SearchRun.write(tmp_path / "run", old)
    export(find_source(run.folder.uri), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "forced_decoder_ids" not in written
    assert written == {name: value for name, value in config.items() if name != "forced_decoder_ids"}


def test_a_single_model_of_a_uri_needs_no_copy_in_the_cache(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = find_source(SearchRun.write(tmp_path / "run", checkpoint).folder.uri)
    far = replace(source, checkpoint=Path(source.checkpoint).as_uri())
    monkeypatch.setattr("raywce.export.folder.on_node", lambda *_: pytest.fail("a second copy"))
    export(far, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_push_uploads_the_folder(
    best: tuple[SearchRun, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker = Hub()
    monkeypatch.setattr(hub, "HfApi", lambda: taker)
    monkeypatch.setattr(hub, "get_token", lambda: "hf_token")
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["export", best[0].folder.uri, str(out), "--push", "me/galician", "--private"])
    assert result.exit_code == 0, result.output
    assert "on the Hub: https://huggingface.co/me/galician" in result.stdout
    made, uploaded = taker.calls
    assert made == ("me/galician", {"private": True, "exist_ok": True})
    assert (uploaded[1]["repo_id"], uploaded[1]["folder_path"]) == ("me/galician", out)


def test_a_hub_that_refuses_costs_nothing_that_was_written(
    best: tuple[SearchRun, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "HfApi", lambda: Hub(refuses=True))
    monkeypatch.setattr(hub, "get_token", lambda: "hf_token")
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["export", best[0].folder.uri, str(out), "--push", "me/galician"])
    assert isinstance(result.exception, RunFailed)
    assert "403 Forbidden" in str(result.exception)
    assert f"hf upload me/galician {out}" in str(result.exception)
    assert (out / "README.md").is_file()


def test_without_a_token_or_a_name_nothing_is_written(
    best: tuple[SearchRun, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "get_token", lambda: None)
    text = told(best[0].folder.uri, str(tmp_path / "out"), "--push", "not/a/name")
    assert "must be a repository of the Hub" in text
    assert "a Hub token with write access must be available, but got none. Run hf auth login" in text
    assert not (tmp_path / "out").exists()
