from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import HTTPError
from safetensors.torch import load_file

from raywce.experiment.disk import Disk, Parameters, disk_of, kept_bytes, parameters_of, speech_bytes, states_bytes
from raywce.experiment.load import load
from raywce.experiment.schema import Experiment, Lora, Model, Optimizer
from raywce.lora import LoraSettings, add_adapter
from raywce.model import load_model, save_model
from raywce.training.checkpoint import TrainingState, save_checkpoint
from raywce.training.optimizer import OptimizerSettings, make_optimizer
from tests.experiment.example import FAMILY, write_example
from tests.tiny_corpus import write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper

CONFIRM = "search.confirm={candidates: 2, seeds: 4}"
PARAMETERS = Parameters(total=100, saved=100, trained=60)  # 400 bytes of weights, 480 of moments


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("whisper"))


def experiment(folder: Path, *overrides: str) -> Experiment:
    few = ["search.confirm.candidates=0", "search.baseline_seeds=1"]
    return load(write_example(folder), [FAMILY, *few, *overrides], check_files=False).experiment


@pytest.mark.parametrize("freeze_encoder", [False, True])
def test_parameters_are_those_of_the_loaded_model(whisper: Path, freeze_encoder: bool) -> None:
    parameters = list(load_model(str(whisper), freeze_encoder=freeze_encoder).parameters())
    total = sum(one.numel() for one in parameters)
    trained = sum(one.numel() for one in parameters if one.requires_grad)
    found = parameters_of(Model(checkpoint=str(whisper), freeze_encoder=freeze_encoder))
    assert found == Parameters(total, total, trained, width=16)
    assert found.memory == 4 * total + 12 * trained, "weights, and of what is trained gradients and two moments"


def test_an_adapter_to_begin_with_counts_as_its_model(whisper: Path, tmp_path: Path) -> None:
    model = load_model(str(whisper))
    add_adapter(model, LoraSettings(**Lora(rank=2).model_dump()), seed=0)
    save_model(model, str(whisper), tmp_path / "adapter")
    assert parameters_of(Model(checkpoint=str(tmp_path / "adapter"))) == parameters_of(Model(checkpoint=str(whisper)))


def test_no_header_no_parameters(tmp_path: Path) -> None:
    assert parameters_of(Model(checkpoint=str(tmp_path))) is None
    (tmp_path / "model.safetensors").write_bytes(b"half")
    assert parameters_of(Model(checkpoint=str(tmp_path))) is None


@pytest.mark.parametrize("lora", [{}, {"rank": 4, "targets": ["q_proj", "fc1"]}])
def test_a_written_checkpoint_takes_what_is_said(whisper: Path, tmp_path: Path, lora: dict[str, Any]) -> None:
    model, section = load_model(str(whisper)), Lora(**lora)
    if section.rank:
        add_adapter(model, LoraSettings(**section.model_dump()), seed=0)
    optimizer = make_optimizer(model, OptimizerSettings(**Optimizer().model_dump()))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    save_checkpoint(tmp_path, model, TrainingState(1, optimizer.state_dict(), None, 1.0, {}), str(whisper), None)
    parameters = parameters_of(Model(checkpoint=str(whisper), lora=section))
    assert parameters is not None
    assert parameters.saved == sum(
        tensor.numel() for tensor in load_file(next(tmp_path.glob("*model.safetensors"))).values()
    )
    written = sum(file.stat().st_size for file in (*tmp_path.glob("*model.safetensors"), *tmp_path.glob("*.pt")))
    (tmp_path / "one").mkdir()
    one = disk_of(experiment(tmp_path / "one"), 1, parameters, 0).trial
    # Of so small a model, names and shapes are a part that counts.
    assert one <= written < (4 if lora else 1.5) * one


@pytest.mark.parametrize(("ranks", "like"), [([2, 8], 8), ([0, 8], 0), ([], 4)])
def test_of_searched_ranks_the_largest_checkpoint_counts(whisper: Path, ranks: list[int], like: int) -> None:
    def of(rank: int, *ranks: int) -> Parameters | None:
        return parameters_of(Model(checkpoint=str(whisper), lora=Lora(rank=rank)), ranks)

    assert of(4, *ranks) == of(like)


@pytest.mark.parametrize(
    ("overrides", "trials", "expected"),
    [
        ([], 20, Disk(finished=(1 + 3) * 400, trial=880, node=887)),  # of a node: speech, and a checkpoint on its way
        ([], 2, Disk(finished=(1 + 2) * 400, trial=880, node=887)),
        (["search.keep_models=5", "search.baseline_seeds=2"], 20, Disk((2 + 5) * 400, 880, 887)),
        ([CONFIRM], 20, Disk((1 + 3 + 2 * 4 + 6) * 400, 880, 887)),
        (["storage=s3://bucket/runs"], 20, Disk(1600, 880, 887)),
        ([CONFIRM, "storage=s3://bucket/runs"], 20, Disk(7200, 880, 887 + (6 + 4) * 400)),  # copies to be evaluated
        (["training.checkpoint_every=50"], 20, Disk(1600, 2 * 880, 887)),
        (["training.checkpoint_every=10"], 20, Disk(1600, 2 * 880, 887)),  # older ones are removed
        (["training.checkpoint_every=10", "resources.workers=2"], 20, Disk(1600, 3 * 880, 887)),  # the best stays too
        (["training.evaluate_every=50"], 20, Disk(1600, 2 * 880, 887)),
    ],
)
def test_what_a_search_takes(tmp_path: Path, overrides: list[str], trials: int, expected: Disk) -> None:
    assert disk_of(experiment(tmp_path, *overrides), trials, PARAMETERS, 7) == expected


def add_speech(folder: Path, sizes: dict[str, int]) -> None:
    for part, size in sizes.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "1.parquet").write_bytes(b"x" * size)


def test_speech_is_that_of_train_and_dev_of_the_languages(tmp_path: Path) -> None:
    of = experiment(tmp_path, "languages.watched=[en]")
    before = speech_bytes(of)
    sizes = {"train/gl": 10, "dev/es": 5, "dev/en": 3, "test/gl": 1000, "train/en": 1000, "train/fr": 1000}
    add_speech(tmp_path / "prepared", sizes)
    assert speech_bytes(of) - before == 18


def test_a_confirm_phase_that_opens_test_splits_takes_theirs_too(tmp_path: Path) -> None:
    of = experiment(tmp_path, CONFIRM, f"data.extra_test={{radio: {tmp_path / 'radio'}}}")
    before = speech_bytes(of)
    add_speech(tmp_path / "prepared", {"test/gl": 10, "test/fr": 1000})
    add_speech(tmp_path / "radio", {"test/es": 3, "train/es": 1000})
    assert speech_bytes(of) - before == 13
    unopened = experiment(tmp_path / "other", "search.confirm={candidates: 2, seeds: 4, test: false}")
    before = speech_bytes(unopened)
    add_speech(tmp_path / "other" / "prepared", {"test/gl": 1000})
    assert speech_bytes(unopened) == before


def test_speech_behind_a_uri_is_there_twice(tmp_path: Path) -> None:
    of = experiment(tmp_path)
    behind = of.model_copy(update={"data": of.data.model_copy(update={"folder": f"file://{tmp_path}/prepared"})})
    assert speech_bytes(behind) == 2 * speech_bytes(of) > 0


def test_a_checkpoint_that_is_not_here_or_can_not_be_asked_for_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise HTTPError("no connection")

    monkeypatch.setattr("huggingface_hub.get_safetensors_metadata", unreachable)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    for checkpoint in ("openai/whisper-small", "/nowhere/whisper"):
        assert parameters_of(Model(checkpoint=checkpoint)) is None


def test_kept_encoder_states_are_counted_by_the_seconds_that_the_encoder_sees() -> None:
    durations = np.array([1.0, 2.5, 29.5], np.float32)
    second = 50 * 512 * 2
    assert states_bytes(durations, "full", 1.0, 512) == 3 * 30 * second
    assert states_bytes(durations, 4.0, 1.0, 512) == 3 * 4 * second
    assert states_bytes(durations, "batch", 1.0, 512) == 2 * (2 + 3.5 + 30) * second, "each in two contexts, on average"


def test_a_frozen_encoder_s_states_are_in_the_estimate(tmp_path: Path) -> None:
    speech = write_tiny_corpus(tmp_path / "speech", {"gl": 3, "es": 4, "en": 2}, {"gl": 1, "es": 1, "en": 1})
    files = [f"data.folder={speech}", "languages={low_resource: [gl], high_resource: [es, en]}", "augmentation={}"]
    trained = experiment(tmp_path / "trained", *files)
    assert kept_bytes(trained, 16) == 0
    frozen = experiment(tmp_path / "frozen", *files, "model.freeze_encoder=true")
    assert kept_bytes(frozen, 16) == (9 + 3) * 30 * 50 * 16 * 2
    augmented = experiment(
        tmp_path / "augmented", *files[:-1], "augmentation={preset: paper}", "model.freeze_encoder=true"
    )
    assert kept_bytes(augmented, 16) == 3 * 30 * 50 * 16 * 2
