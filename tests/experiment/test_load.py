from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from raywce.assets import checkpoint_path, speech_path
from raywce.demo.generate import provide_speech
from raywce.errors import InputError
from raywce.experiment.augmentation_schema import Augmentation
from raywce.experiment.environment import token_languages
from raywce.experiment.load import load
from raywce.experiment.schema import NoWeighting
from tests.experiment.example import FAMILY, SEARCHED_RATE, changed, problems

RATE = "training.optimizer.learning_rate"
BASELINE_RATE = f"search.baseline.{RATE}=2e-5"
GRID = ("search.sampler=grid", "search.trials=null", "search.points=none")
NOT_YET = "the demo corpus is generated on first use"


def test_what_is_resolved_reads_back_as_the_same(example: Path, tmp_path: Path) -> None:
    for overrides in ([], [FAMILY], [FAMILY, SEARCHED_RATE, BASELINE_RATE, "search.points=none"]):
        file = changed(example, *overrides)
        resolved = tmp_path / "resolved.yaml"
        resolved.write_text(file.resolved_yaml())
        assert load(resolved) == file
        assert load(resolved).resolved_yaml() == file.resolved_yaml()


def test_a_resolved_file_is_complete(example: Path) -> None:
    resolved = changed(example).resolved_yaml()
    for key in ("epsilon", "absolute_floor", "prefetch", "evaluate_at_start", "both_kinds"):
        assert f"{key}: " in resolved


def test_a_search_needs_a_name_a_model_speech_languages_and_a_distribution(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(
        "name: small\n"
        "model: {checkpoint: openai/whisper-small}\n"
        "data: {folder: data/prepared}\n"
        "languages: {low_resource: [gl], high_resource: [es, pt]}\n"
        "weighting: {kind: constant, alpha: {uniform: [1, 6]}}\n"
    )
    loaded = load(file, check_files=False)
    loaded.require_space()
    assert (loaded.experiment.training.steps, loaded.trials) == (2000, 27)


def test_at_puts_draws_in(example: Path) -> None:
    file = changed(example, FAMILY, SEARCHED_RATE, BASELINE_RATE)
    draw = {
        "weighting.alpha_initial": 1,
        "weighting.alpha_final": 6.0,
        "weighting.ramp_start": 0.25,
        "weighting.ramp_fraction": 0.5,
        "weighting.adaptive": True,
        RATE: 1e-6,
    }
    experiment = file.at(draw)
    assert experiment.training.optimizer.learning_rate == 1e-6
    assert experiment.schedules()["gl"].adaptive
    assert experiment.weighting.model_dump(exclude={"kind", "scope", "languages", "ratio_cap"}) == {
        key.removeprefix("weighting."): value for key, value in draw.items() if key != RATE
    }


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "weighting.alpha: must be given"),
        ({"weighting.alpha": 7.0}, r"weighting.alpha: must be in \{uniform: \[1.0, 6.0\]\}, but got 7.0"),
        ({"weighting.alpha": 2.0, "training.steps": 3}, "training.steps: must be a searched key"),
    ],
)
def test_at_refuses_what_cannot_be_drawn(example: Path, values: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        changed(example, "weighting.alpha={uniform: [1, 6]}").at(values)


def test_the_sampling_is_searched_and_the_baseline_has_its_own(example: Path) -> None:
    temperature, share = "data.sampling.temperature", "data.sampling.shares.gl"
    searched, baseline = f"{temperature}={{uniform: [1, 5]}}", f"search.baseline.{temperature}=2"
    file = changed(example, searched, baseline, "search.points=none")
    assert file.at({temperature: 4.5}).data.sampling.temperature == 4.5
    assert file.baseline().data.sampling.temperature == 2
    weighted = changed(
        example, "data.sampling.shares={gl: {uniform: [1, 4]}, es: 2, pt: 2}", f"search.baseline.{share}=1"
    )
    (point,) = weighted.published_points()
    assert point == {share: 1.0}
    assert weighted.at(point).data.sampling.shares == {"gl": 1.0, "es": 2, "pt": 2}


def test_a_grids_other_exposure_is_not_the_baseline(example: Path) -> None:
    plain = "search.alternatives={exposure: {as it is: {}, hot: {data.sampling.temperature: 5}}}"
    file = changed(example, *GRID, plain, "weighting={kind: none}")
    assert [values["exposure"] for values in file.settings()] == ["hot"]


def test_concrete_names_each_leaf_that_has_no_value(example: Path) -> None:
    assert changed(example).concrete().weighting.alpha == 2  # type: ignore[union-attr]
    with pytest.raises(InputError) as caught:
        changed(example, FAMILY, "weighting.adaptive=false").concrete()
    leaves = ("alpha_initial", "alpha_final", "ramp_start", "ramp_fraction")
    assert [problem.path for problem in caught.value.problems] == [f"weighting.{leaf}" for leaf in leaves]
    assert "Give it one: weighting.alpha_initial=VALUE" in str(caught.value)


def test_a_searched_file_trains_once_each_leaf_has_a_value(example: Path) -> None:
    file = changed(example, FAMILY, BASELINE_RATE, "weighting={kind: constant, alpha: 3}", f"{RATE}=3e-5")
    assert file.concrete().training.optimizer.learning_rate == 3e-5
    assert file.baseline().training.optimizer.learning_rate == 3e-5


def test_a_search_wants_a_distribution(example: Path) -> None:
    changed(example, FAMILY).require_space()
    with pytest.raises(InputError, match="a search must have a distribution"):
        changed(example).require_space()


def test_the_baseline_is_plain_fine_tuning_at_its_own_optimizer(example: Path) -> None:
    file = changed(example, FAMILY, SEARCHED_RATE, BASELINE_RATE)
    baseline = file.baseline()
    assert baseline.weighting == NoWeighting()
    assert baseline.training.optimizer.learning_rate == 2e-5
    same = {"weighting", "training"}
    assert baseline.model_dump(exclude=same) == file.experiment.model_dump(exclude=same)


def test_the_baseline_has_no_augmentation(example: Path) -> None:
    paper = ["augmentation={preset: paper, copies: 2, strength: {uniform: [0.5, 1.5]}}"]
    file = changed(example, *paper, SEARCHED_RATE, BASELINE_RATE)
    assert file.experiment.augmentation.active
    assert file.baseline().augmentation == Augmentation()
    assert file.at({"augmentation.strength": 1.5, RATE: 1e-5}).augmentation.strength == 1.5


@pytest.mark.parametrize(
    ("overrides", "both"),
    [
        (["weighting={kind: none}"], False),
        (["weighting={kind: constant, alpha: 2}"], False),
        (["weighting={kind: dynamic, alpha: 2}"], True),
        (["weighting={kind: progressive_dynamic, alpha_initial: 2, alpha_final: 3}"], True),
        ([FAMILY], True),
        ([FAMILY, "weighting.adaptive=true"], True),
        ([FAMILY, "weighting.adaptive=false"], False),
        ([FAMILY, "data.sampling.both_kinds=false"], False),
        (["data.sampling.both_kinds=true"], True),
    ],
)
def test_both_kinds_is_one_answer_for_baseline_and_trials(example: Path, overrides: list[str], both: bool) -> None:
    file = changed(example, *overrides)
    assert file.experiment.data.sampling.both_kinds is both
    assert file.baseline().data.sampling.both_kinds is both


def test_a_grid_does_not_run_the_baseline_again(example: Path) -> None:
    file = changed(
        example,
        *GRID,
        "weighting.alpha={choice: [1, 2]}",
        "augmentation={preset: paper, strength: {choice: [0, 1]}}",
        "search.seeds=3",
        "search.baseline_seeds=3",
    )
    assert [tuple(values.values()) for values in file.settings()] == [(1, 1), (2, 0), (2, 1)]
    assert [tuple(values.values()) for values in file.stood_for()] == [(1, 0)]
    assert file.trials == 9


@pytest.mark.parametrize(
    ("weighting", "same"),
    [
        ("{kind: constant, alpha: 1}", True),
        ("{kind: constant, alpha: 1, languages: {gl: {alpha: 2}}}", False),
        ("{kind: dynamic, alpha: 1}", False),  # max(alpha, ratio) can be above 1
        ("{kind: linear_progressive, alpha_initial: 1, alpha_final: 2}", False),
    ],
)
def test_which_setting_is_the_baseline(example: Path, weighting: str, same: bool) -> None:
    levels = f"search.alternatives={{w: {{a: {{weighting: {weighting}}}, b: {{}}}}}}"
    assert len(changed(example, *GRID, levels).stood_for()) == same


def test_a_setting_with_another_optimizer_is_not_the_baseline(example: Path) -> None:
    rate = "training.optimizer.learning_rate={choice: [1e-5, 2e-5]}"
    baseline = "search.baseline.training.optimizer.learning_rate=1e-5"
    file = changed(example, *GRID, "weighting={kind: none}", rate, baseline)
    assert file.settings() == [{"training.optimizer.learning_rate": 2e-5}]


def test_a_grid_with_nothing_to_run(example: Path) -> None:
    with pytest.raises(InputError, match="a grid must have a setting that is not the baseline"):
        changed(example, *GRID, "weighting.alpha={choice: [1]}")


def test_errors_of_a_grid(example: Path) -> None:
    alpha = "weighting.alpha={uniform: [1, 4]}"
    given = ["search.seeds=2", "search.trials=20", "search.baseline_seeds=1"]
    found = problems(example, ["search.sampler=grid", alpha, *given])
    assert {problem.path: problem.got for problem in found} == {
        "search.trials": "20",
        "search.points": '"published"',
        "search.baseline_seeds": "1",
        "weighting.alpha": "{uniform: [1.0, 4.0]}",
    }
    assert "List its values: {choice: […]}" in "".join(map(str, found))
    assert {problem.path for problem in problems(example, [alpha, "search.seeds=2"])} == {"search.seeds"}


def test_local_paths_become_absolute(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(example.parent)
    monkeypatch.setenv("HOME", "/home/someone")
    experiment = changed(example, "data.folder=prepared", "model.checkpoint=whisper").experiment
    assert experiment.data.folder == str(example.parent / "prepared")
    assert experiment.data.cache == "/home/someone/.cache/raywce"
    assert experiment.model.checkpoint == str(example.parent / "whisper")
    assert experiment.storage == str(example.parent / "runs")


def test_folders_of_recordings_become_absolute(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(example.parent)
    rooms, noise = (example.parent / name for name in ("rooms", "noise"))
    for folder in (rooms, noise):
        folder.mkdir()
        (folder / "0.wav").touch()
    named = [
        "augmentation.impulse_response={probability: 1, folder: rooms}",
        "augmentation.background_noise.folder=noise",
    ]
    file = changed(example, *named)
    augmentation = file.experiment.augmentation
    assert augmentation.folders == {"impulse_response": str(rooms), "background_noise": str(noise)}
    assert f"folder: {noise}" in file.resolved_yaml()


def test_uris_and_hub_ids_stay(example: Path) -> None:
    experiment = changed(example, "storage=s3://bucket/runs", "model.checkpoint=openai/whisper-small").experiment
    assert experiment.storage == "s3://bucket/runs"
    assert experiment.model.checkpoint == "openai/whisper-small"


def test_what_this_machine_lacks_may_be_let_pass(example: Path, tmp_path: Path) -> None:
    lacking = [
        "data.folder=./no",
        "data.extra_test={broadcast: ./no}",
        "weighting.alpha={uniform: [1, 6]}",
        "model.checkpoint=./no",
        "augmentation.background_noise={probability: 1, folder: ./no}",
        "resources.cpus_per_worker=64",
    ]
    found = load(example, lacking, allow_absent=True).not_here
    assert found == problems(example, lacking)
    assert {problem.path for problem in found} == {
        "data.folder",
        "data.extra_test.broadcast",
        "model.checkpoint",
        "augmentation.background_noise.folder",
        "resources.cpus_per_worker",
    }
    with pytest.raises(InputError, match=r"^training.batch_size: must be at least 1, but got 0$"):
        load(example, [*lacking, "training.batch_size=0"], allow_absent=True)


def test_a_part_of_the_prepared_speech_may_be_on_another_machine(example: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "prepared" / "train" / "gl")
    shutil.rmtree(tmp_path / "prepared" / "test")
    (tmp_path / "extra").mkdir()
    lacking = ["weighting.alpha={uniform: [1, 6]}", f"data.extra_test={{broadcast: {tmp_path / 'extra'}}}"]
    found = load(example, lacking, allow_absent=True).not_here
    assert [problem.rule.removeprefix("must hold ") for problem in found] == [
        "train/gl/*.parquet",
        "must be a prepared folder with test/<language>/*.parquet of a language of the experiment",
        *(f"test/{language}/*.parquet" for language in ("gl", "es", "pt")),
    ]
    assert problems(example, lacking) == found
    uri = f"data.folder=file://{tmp_path / 'prepared'}"  # the same on every machine
    with pytest.raises(InputError, match="must hold train/gl"):
        load(example, [uri], allow_absent=True)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Modules that can be found; espeak-ng's wheel is one of them."""
    found = {"espeakng_loader"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in found else None)
    return found


def test_demo_names_are_resolved(example: Path, tmp_path: Path) -> None:
    names = ("data.folder=demo:six-languages", "model.checkpoint=demo:micro-whisper", f"data.cache={tmp_path}/cache")
    file = changed(example, *names, check_files=False)
    assert file.experiment.data.folder == speech_path("demo:six-languages", tmp_path / "cache")
    assert file.experiment.model.checkpoint == checkpoint_path("demo:micro-whisper")
    assert "demo:" not in file.resolved_yaml()


def test_a_resolved_demo_file_reads_back_as_the_same(example: Path, tmp_path: Path, installed: set[str]) -> None:
    file = changed(example, "data.folder=demo:six-languages", f"data.cache={tmp_path}/cache")
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(file.resolved_yaml())
    assert load(resolved) == file
    assert file.notes == [NOT_YET]


def test_the_demo_corpus_is_checked_before_it_is_there(example: Path, tmp_path: Path, installed: set[str]) -> None:
    demo = ["data.folder=demo:six-languages", f"data.cache={tmp_path}/cache"]
    assert changed(example, *demo).notes == [NOT_YET]
    assert not (tmp_path / "cache").exists(), "checking generates nothing"

    installed.clear()
    (problem,) = problems(example, demo)
    assert (problem.path, problem.do) == ("data.folder", "Run pip install 'raywce[demo]'")
    italian = ["languages.high_resource=[es, it]", "languages.language_tokens={it: es}"]
    _, problem = problems(example, [*demo, *italian])
    assert (problem.path, problem.got) == ("data.folder", "it")


def test_the_demo_corpus_is_checked_as_any_speech_once_it_is_there(
    example: Path, tmp_path: Path, installed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = example.parent / "prepared"

    def generate(folder: Path, **options: object) -> SimpleNamespace:
        speech.rename(folder)
        return SimpleNamespace(utterances=0)

    monkeypatch.setattr("raywce.demo.corpus.prepare_corpus", generate)
    provide_speech(Path(speech_path("demo:six-languages", tmp_path / "cache")))
    installed.clear()
    demo = ["data.folder=demo:six-languages", f"data.cache={tmp_path}/cache"]
    assert changed(example, *demo).notes == []
    rules = [problem.rule for problem in problems(example, [*demo, "languages.high_resource=[es, en]"])]
    assert rules == ["must hold train/en/*.parquet", "must hold dev/en/*.parquet"]


def test_unknown_demo_names_are_told_with_all_else(example: Path) -> None:
    wrong = ["data.folder=demo:seven-languages", "model.checkpoint=demo:whisper", "training.steps=0"]
    found = {problem.path: str(problem) for problem in problems(example, wrong)}
    assert set(found) == {"data.folder", "model.checkpoint", "training.steps"}
    for path in ("data.folder", "model.checkpoint"):
        assert "demo:micro-whisper" in found[path]
        assert "demo:six-languages" in found[path]


def test_an_adapter_needs_its_extra(example: Path, installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raywce.experiment.environment.find_spec", lambda name: name if name in installed else None)
    ranks = ["model.lora.rank={choice: [0, 8]}", "search.baseline={model.lora.rank: 0}"]
    (problem,) = [one for one in problems(example, [FAMILY, *ranks]) if one.path == "model.lora.rank"]
    assert problem.do == "Run pip install 'raywce[lora]', or set it to 0"
    installed.add("peft")
    assert "model.lora.rank" in changed(example, FAMILY, *ranks).space
    installed.clear()
    levels = ["search.alternatives={how: {full: {}, lora: {model.lora.rank: 8}}}", "search.sampler=grid"]
    assert [one.got for one in problems(example, [*levels]) if "model.lora.rank" in one.path + one.rule]


def test_a_checkpoint_of_the_hub_has_the_tokens_of_its_copy(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = example.parent / "whisper"
    assert "ast" not in token_languages("me/whisper-ast")
    assert "yue" in token_languages("openai/whisper-large-v3-turbo")
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda *_, **__: str(folder / "generation_config.json")
    )
    assert token_languages("me/whisper-ast") == token_languages(str(folder))


def test_a_search_over_alternatives_alone_needs_a_test_split_too(example: Path) -> None:
    levels = "search.alternatives={how: {plain: {}, more: {weighting.alpha: 3}}}"
    shutil.rmtree(example.parent / "prepared" / "test", ignore_errors=True)
    found = problems(example, ["weighting.alpha=2", levels, "search.sampler=grid", "search.confirm.candidates=1"])
    assert any("must hold test/gl/*.parquet" in problem.rule for problem in found)


def test_a_key_with_dots_is_nested_in_a_file(example: Path) -> None:
    example.write_text(example.read_text() + "\ntraining.steps: 100\n")
    (problem,) = [one for one in problems(example, []) if one.path == "training.steps"]
    assert "In a file, keys are nested: training: {steps: …}" in str(problem)


def test_what_needs_time_stamps_is_refused_without_them(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raywce.whisper_folder.has_time_stamps", lambda folder: False)
    wanted = {
        "data.timestamps": 0.5,
        "evaluation": "{timestamps: true, robustness: true}",
        "search.confirm.candidates": 1,
        "search.constraints.robustness": "{long_form: 5, timestamps: 1}",
    }
    found = problems(example, [FAMILY, *(f"{key}={value}" for key, value in wanted.items())])
    refused = {problem.path for problem in found if "as the checkpoint has no time stamps" in problem.rule}
    assert refused == {"data.timestamps", "evaluation.timestamps", "search.constraints.robustness.long_form"}
