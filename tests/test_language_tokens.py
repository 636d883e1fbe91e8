from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from raywce.cluster.decode import run_evaluation
from raywce.errors import InputError
from raywce.evaluation.evaluate import Evaluation
from raywce.evaluation.settings import DecodeSettings
from raywce.language_tokens import with_tokens
from raywce.model import load_model, load_tokenizer
from tests.evaluation.talking_whisper import write_talking_whisper
from tests.tiny_corpus import write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper

NEW = {"ast": "es", "oci": "gl"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("model") / "whisper", chunk_length=3)


@pytest.fixture
def made(source: Path, tmp_path: Path) -> str:
    return with_tokens(str(source), None, NEW, tmp_path / "cache")


def test_a_new_token_begins_as_another_one(source: Path, made: str) -> None:
    before, after = load_model(str(source)).eval(), load_model(made).eval()
    old, ids = before.generation_config.lang_to_id, after.generation_config.lang_to_id
    assert ids == {**old, "<|ast|>": ids["<|ast|>"], "<|oci|>": ids["<|oci|>"]}
    assert len(set(ids.values())) == len(ids)
    assert after.proj_out.weight is after.get_input_embeddings().weight
    features, first = torch.randn(1, 80, 300), max(old.values()) + 1

    def logits(model: torch.nn.Module, language: int, new: int = 0) -> torch.Tensor:
        """Of all tokens but the new ones."""
        prompt = torch.tensor([[before.config.decoder_start_token_id, language, 5, 6]])
        with torch.no_grad():
            found = model(input_features=features, decoder_input_ids=prompt).logits
        return torch.cat([found[..., :first], found[..., first + new :]], dim=-1)

    for language, like in NEW.items():
        expected = logits(before, old[f"<|{like}|>"])
        torch.testing.assert_close(logits(after, ids[f"<|{language}|>"], new=2), expected)
        assert not torch.equal(expected, logits(before, old["<|en|>"]))


def test_the_tokenizer_knows_it_and_splits_text_as_before(source: Path, made: str) -> None:
    before, after = load_tokenizer(str(source)), load_tokenizer(made)
    assert after.convert_tokens_to_ids("<|ast|>") == load_model(made).generation_config.lang_to_id["<|ast|>"]
    text = "ola <|ast|> a todos"
    plain = {"add_special_tokens": False, "split_special_tokens": True}
    assert after(text, **plain)["input_ids"] == before(text, **plain)["input_ids"]
    assert (
        after.decode(
            [after.convert_tokens_to_ids("<|ast|>"), *before("ola", add_special_tokens=False)["input_ids"]],
            skip_special_tokens=True,
        )
        == "ola"
    )


def test_what_is_behind_the_languages_moves_up(source: Path, made: str) -> None:
    """As in Whisper large-v3, which has a language more than the versions before it."""
    before, after = load_tokenizer(str(source)), load_tokenizer(made)
    old, new = load_model(str(source)).generation_config, load_model(made).generation_config
    first = max(old.lang_to_id.values()) + 1
    ids = before.get_vocab()
    expected = {token: index + 2 * (index >= first) for token, index in ids.items()}
    assert after.get_vocab() == {**expected, "<|ast|>": first, "<|oci|>": first + 1}
    names = [before.convert_ids_to_tokens(index) for index in (old.no_timestamps_token_id, *old.task_to_id.values())]
    moved = [after.convert_ids_to_tokens(index) for index in (new.no_timestamps_token_id, *new.task_to_id.values())]
    assert moved == names
    said = [before.convert_ids_to_tokens(index) for index in old.suppress_tokens or []]
    assert [after.convert_ids_to_tokens(index) for index in new.suppress_tokens or []] == said
    assert after("ola")["input_ids"] == [
        expected[token] for token in before.convert_ids_to_tokens(before("ola")["input_ids"])
    ]


def test_it_is_made_once_for_a_checkpoint_as_it_is(source: Path, made: str, tmp_path: Path) -> None:
    written = Path(made, "model.safetensors").stat().st_mtime_ns
    assert with_tokens(str(source), None, dict(reversed(NEW.items())), tmp_path / "cache") == made
    assert Path(made, "model.safetensors").stat().st_mtime_ns == written
    assert with_tokens(str(source), None, {"ast": "gl"}, tmp_path / "cache") != made
    assert with_tokens(made, None, NEW, tmp_path / "cache") == made, "it has them"
    assert with_tokens(str(source), None, {}, tmp_path / "cache") == str(source)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"dropout": 0.5}))
    assert with_tokens(str(source), None, NEW, tmp_path / "cache") != made


def test_a_token_that_is_there_is_not_made_again(source: Path, made: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no token for, but got .*Take ast out of languages\.language_tokens"):
        with_tokens(made, None, {"ast": "es", "xho": "es"}, tmp_path / "cache")


def test_the_original_writes_with_a_new_token_what_it_writes_with_the_other(tmp_path: Path) -> None:
    model = write_talking_whisper(tmp_path / "talking")
    data = write_tiny_corpus(tmp_path / "speech", {"ast": 3}, {"ast": 3})

    def texts(settings: DecodeSettings, new: dict[str, str]) -> list[str]:
        cache = tmp_path / "cache"
        table = run_evaluation(Evaluation(str(model), str(data), "dev", ("ast",), cache, settings, new_tokens=new))
        return table["hypothesis"].to_pylist()

    borrowed = texts(DecodeSettings(language_tokens={"ast": "es"}), {})
    assert texts(DecodeSettings(), {"ast": "es"}) == borrowed
    assert texts(DecodeSettings(), {"ast": "en"}) != borrowed
