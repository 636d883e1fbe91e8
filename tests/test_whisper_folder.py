from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

from raywce.errors import Absent, InputError
from raywce.model import load_model, load_tokenizer
from raywce.whisper_folder import base_of, completion, is_adapter, language_ids, problems_of
from tests.tiny_whisper import write_tiny_whisper

NEEDED = ("lang_to_id", "task_to_id", "no_timestamps_token_id")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("tiny"), languages=("en", "es", "gl"))


@pytest.fixture
def folder(whisper: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whisper, tmp_path / "whisper")


def opens(folder: Path) -> bool:
    """Whether transformers itself opens all that a fine-tuning takes from a folder."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        WhisperFeatureExtractor.from_pretrained(folder)
        WhisperForConditionalGeneration.from_pretrained(folder)
    except Exception:  # of whatever kind
        return False
    return len(tokenizer) > 1  # as it is without its file


def removed(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100]) and None


def older_tokenizer(folder: Path) -> None:
    """The files of the time before tokenizer.json."""
    written = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").unlink()
    added = {token["content"]: token["id"] for token in written["added_tokens"]}
    (folder / "vocab.json").write_text(json.dumps(written["model"]["vocab"]))
    (folder / "added_tokens.json").write_text(json.dumps(added))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def older_weights(folder: Path) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def sharded(folder: Path) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="50KB")
    assert len(list(folder.glob("*.safetensors"))) > 1


def sharded_without_a_part(folder: Path) -> None:
    sharded(folder)
    next(folder.glob("*.safetensors")).unlink()


def of_another_kind(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "wav2vec2"}))


def extractor_of_the_processor_gone(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "WhisperProcessor"}))


@pytest.mark.parametrize(
    "change",
    [
        removed(),
        removed("preprocessor_config.json"),
        removed("processor_config.json"),
        removed("generation_config.json"),
        sharded,
        removed("tokenizer_config.json"),
        older_tokenizer,
        older_weights,
    ],
    ids=[
        "whole",
        "processor alone",
        "preprocessor alone",
        "no generation config",
        "in parts",
        "no tokenizer config",
        "vocab.json",
        "pytorch_model.bin",
    ],
)
def test_what_transformers_opens_has_no_problem(folder: Path, change: Callable[[Path], None]) -> None:
    change(folder)
    assert opens(folder)
    assert problems_of(folder, "MODEL") == []
    assert language_ids(folder).keys() >= {"<|en|>", "<|es|>", "<|gl|>"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (removed("config.json"), "config.json"),
        (removed("model.safetensors"), "model.safetensors"),
        (removed("tokenizer.json"), "tokenizer.json"),
        (removed("preprocessor_config.json", "processor_config.json"), "preprocessor_config.json"),
        (extractor_of_the_processor_gone, "feature_extractor"),
        (cut("config.json"), "config.json"),
        (cut("model.safetensors"), "model.safetensors"),
        (cut("tokenizer.json"), "tokenizer.json"),
        (cut("processor_config.json"), "processor_config.json"),
        (sharded_without_a_part, "every part"),
    ],
)
def test_what_transformers_does_not_open_is_named(folder: Path, change: Callable[[Path], None], said: str) -> None:
    change(folder)
    assert not opens(folder)
    (problem,) = problems_of(folder, "MODEL")
    assert problem.path == "MODEL"
    assert str(folder) in str(problem)
    assert said in str(problem)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pointer_of_git_lfs_is_called_one(folder: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (problem,) = problems_of(folder, "MODEL")
    assert problem.got == f"{folder / name}, a Git LFS pointer"


def test_features_of_another_model_are_named(folder: Path) -> None:
    (folder / "processor_config.json").unlink()
    extractor = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor | {"feature_size": 128}))
    (problem,) = problems_of(folder, "MODEL")
    assert str(problem).startswith(f"MODEL: must have features of 80 mel bins, as its model, but got 128 in {folder}")


def test_another_kind_of_model_is_named(folder: Path) -> None:
    of_another_kind(folder)
    (problem,) = problems_of(folder, "MODEL")
    assert str(problem) == f"MODEL: must be a Whisper, but got {folder}, a wav2vec2"


def adapter(folder: Path, base: str, kind: str = "LORA") -> None:
    """Make it an adapter of `base`."""
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    config = {"peft_type": kind, "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def test_an_adapter_beside_its_models_configurations_is_opened(folder: Path) -> None:
    base = Path(shutil.copytree(folder, folder.with_name("base")))
    adapter(folder, str(base))
    assert is_adapter(folder)
    assert base_of(folder) == (str(base), None)
    assert problems_of(folder, "MODEL") == []
    (base / "model.safetensors").write_bytes(b"half")
    (folder / "adapter_model.safetensors").write_bytes(b"half")
    assert [problem.got.partition(" (")[0] for problem in problems_of(folder, "MODEL")] == [
        str(base / "model.safetensors"),
        str(folder / "adapter_model.safetensors"),
    ]


def test_an_adapter_of_a_hub_model_waits_for_the_hub(folder: Path) -> None:
    adapter(folder, "openai/whisper-small")
    assert problems_of(folder, "MODEL") == []


def test_an_adapter_alone_says_what_it_is_and_of_what(folder: Path) -> None:
    adapter(folder, "openai/whisper-small")
    (folder / "config.json").unlink()
    (problem,) = problems_of(folder, "MODEL")
    assert "an adapter (PEFT, LORA) of openai/whisper-small" in problem.got
    assert problem.rule.endswith("configurations and tokenizer: config.json")
    assert "merge_and_unload()" in problem.do


@pytest.mark.parametrize(("base", "kind"), [("openai/whisper-small", "IA3"), ("", "LORA")])
def test_other_adapters_are_to_be_merged(folder: Path, base: str, kind: str) -> None:
    adapter(folder, base, kind)
    (problem,) = problems_of(folder, "MODEL")
    assert problem.rule == "must be a whole model, or a LoRA adapter that names its model"
    assert f"an adapter (PEFT, {kind}) of {base or 'no model'}" in problem.got


def test_an_adapter_needs_its_model_here(folder: Path) -> None:
    adapter(folder, "/elsewhere/whisper")
    (problem,) = problems_of(folder, "MODEL")
    assert isinstance(problem, Absent)
    assert problem.rule == "the adapter's model must be on this machine"


def test_an_adapter_needs_peft(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter(folder, "openai/whisper-small")
    monkeypatch.setattr("raywce.whisper_folder.find_spec", lambda name: None)
    (problem,) = problems_of(folder, "MODEL")
    assert isinstance(problem, Absent)
    assert problem.do == "Run pip install 'raywce[lora]'"


def test_an_adapter_beside_whole_weights_would_be_applied_to_them(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    (problem,) = problems_of(folder, "MODEL")
    assert problem.rule.startswith("must have no adapter_config.json beside whole weights")


def test_the_folder_above_checkpoints_says_which_there_are(folder: Path) -> None:
    above = folder.with_name("run")
    for name in ("checkpoint-500", "checkpoint-1000"):
        shutil.copytree(folder, above / name)
    (problem,) = problems_of(above, "MODEL")
    assert problem.do == "Name a folder in it: checkpoint-1000, checkpoint-500"


@pytest.mark.parametrize("file", [None, {}, {"forced_decoder_ids": [[1, 262], [2, 263]], "lang_to_id": None}])
def test_a_generation_config_is_completed_from_the_tokenizer(
    whisper: Path, folder: Path, file: dict[str, object] | None
) -> None:
    (folder / "generation_config.json").unlink()
    if file is not None:
        (folder / "generation_config.json").write_text(json.dumps(file))
    before, after = (load_model(str(of)).generation_config for of in (whisper, folder))
    for name in ("task_to_id", "no_timestamps_token_id"):
        assert getattr(after, name) == getattr(before, name)
    assert before.lang_to_id.items() <= after.lang_to_id.items()
    assert after.lang_to_id == language_ids(folder)
    assert getattr(after, "forced_decoder_ids", None) is None
    for name in ("eos_token_id", "decoder_start_token_id"):
        assert getattr(after, name) == getattr(before, name)


def test_a_whole_generation_config_stays_as_it_is(whisper: Path) -> None:
    own = WhisperForConditionalGeneration.from_pretrained(whisper).generation_config
    assert load_model(str(whisper)).generation_config.to_dict() == own.to_dict()


def test_a_tokenizer_without_languages_and_no_generation_config_is_named(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    vocabulary = {token: index for token, index in load_tokenizer(str(folder)).get_vocab().items() if token[:2] != "<|"}
    with pytest.raises(
        InputError, match=r"whisper/generation_config.json: must have lang_to_id.*neither for lang_to_id"
    ):
        completion({}, lambda: vocabulary, "whisper")


def test_a_vocabulary_for_english_only_is_told_by_its_size(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 51_864}))
    (problem,) = problems_of(folder, "MODEL")
    assert problem.rule == "must be multilingual"


def test_weights_that_can_not_be_opened_are_named_with_their_folder(folder: Path) -> None:
    cut("model.safetensors")(folder)
    with pytest.raises(InputError, match=f"{folder}: must be a Whisper that transformers opens"):
        load_model(str(folder))
