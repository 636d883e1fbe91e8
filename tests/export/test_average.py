from __future__ import annotations

import json
import re
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoProcessor, WhisperForConditionalGeneration

from raywce.errors import InputError
from raywce.export.average import FARTHEST, Model, average, distance, find_model, problems
from raywce.export.folder import export
from raywce.export.record import Member, find_average
from raywce.lora import LoraSettings, add_adapter
from raywce.model import load_model, save_model
from raywce.runs.folder import STATE_FILE
from tests.export.runs import SearchRun
from tests.export.transcribing import by_card
from tests.tiny_whisper import write_tiny_whisper

STEP = 0.03  # of a fine-tuning, as a share of each matrix


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("start") / "model")


def tuned(start: Path, folder: Path, seed: int, dtype: torch.dtype = torch.float32, **saving: Any) -> Model:
    """A folder whose trained weights are a little away from the start's."""
    shutil.copytree(start, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    model = WhisperForConditionalGeneration.from_pretrained(start, dtype=dtype)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name != "model.encoder.embed_positions.weight":
                noise = torch.randn(weights.shape, generator=random)
                weights.add_(STEP * weights.float().std(correction=0).to(dtype) * noise.to(dtype))
    model.save_pretrained(folder, **saving)
    return find_model(str(folder))


def test_a_folder_that_could_not_transcribe_is_refused(start: Path, tmp_path: Path) -> None:
    model = tuned(start, tmp_path / "bare", 1)
    for name in ("tokenizer.json", "vocab.json", "generation_config.json"):
        (model.folder / name).unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"no tokenizer\.json or vocab\.json, no generation_config\.json"):
        find_model(str(model.folder))


def weights_of(folder: Path, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = WhisperForConditionalGeneration.from_pretrained(folder, dtype=dtype).state_dict()
    return weights


def mean_of(models: Sequence[Model], shares: Sequence[float], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The average in float64, by torch."""
    states = [weights_of(model.folder, dtype) for model in models]
    return {
        name: sum(share * state[name].double() for share, state in zip(shares, states, strict=True))  # type: ignore[misc]
        for name in states[0]
    }


def assert_equal(out: Path, wanted: dict[str, Tensor], dtype: torch.dtype = torch.float32) -> None:
    found = weights_of(out, dtype)
    assert found.keys() == wanted.keys()
    for name, weights in wanted.items():
        torch.testing.assert_close(found[name], weights.to(dtype), msg=name)


@pytest.mark.parametrize("shares", [None, [0.25, 0.75], [0.5, 0.3, 0.2]])
def test_it_is_the_mean_of_the_state_dicts(start: Path, tmp_path: Path, shares: list[float] | None) -> None:
    models = [tuned(start, tmp_path / str(seed), seed) for seed in range(len(shares) if shares else 3)]
    average(models, tmp_path / "out", shares)
    wanted = mean_of(models, shares or [1 / 3] * 3)
    assert_equal(tmp_path / "out", wanted)
    assert any(not torch.equal(wanted[name], weights) for name, weights in weights_of(models[0].folder).items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_type_stays_and_is_not_averaged_in(start: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    models = [tuned(start, tmp_path / str(seed), seed, dtype) for seed in range(3)]
    average(models, tmp_path / "out")
    assert {info.dtype for info in find_model(str(tmp_path / "out")).tensors.values()} == {
        info.dtype for info in models[0].tensors.values()
    }
    assert_equal(tmp_path / "out", mean_of(models, [1 / 3] * 3, dtype), dtype)


def test_shards_are_read_and_written_as_the_first_has_them(start: Path, tmp_path: Path) -> None:
    one = tuned(start, tmp_path / "one", 1, max_shard_size="40KB")
    other = tuned(start, tmp_path / "other", 2)
    shards = sorted(file.name for file in one.folder.glob("*.safetensors"))
    assert len(shards) > 1
    for number, models in enumerate([(one, other), (other, one)]):
        average(models, tmp_path / str(number))
        assert_equal(tmp_path / str(number), mean_of(models, [0.5, 0.5]))
    assert sorted(file.name for file in (tmp_path / "0").glob("*.safetensors")) == shards
    assert [file.name for file in (tmp_path / "1").glob("*.safetensors")] == ["model.safetensors"]


def test_tied_weights_stay_tied(start: Path, tmp_path: Path) -> None:
    models = [tuned(start, tmp_path / str(seed), seed) for seed in range(2)]
    assert "proj_out.weight" not in models[0].tensors
    average(models, tmp_path / "out")
    made = WhisperForConditionalGeneration.from_pretrained(tmp_path / "out")
    assert made.proj_out.weight is made.model.decoder.embed_tokens.weight
    torch.testing.assert_close(made.proj_out.weight.double(), mean_of(models, [0.5, 0.5])["proj_out.weight"])


def test_of_equal_models_it_is_the_same_to_the_last_bit(start: Path, tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(start, tmp_path / str(number))) for number in range(3)]
    models = [find_model(str(copy)) for copy in copies]
    assert problems(models) == []
    average(models, tmp_path / "out", [0.2, 0.7, 0.1])
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (start / "model.safetensors").read_bytes()


def test_one_tensor_at_a_time_is_in_memory(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [tuned(start, tmp_path / str(seed), seed) for seed in range(4)]
    read, living, most = Model.read, list[Any](), 0

    def watched(model: Model, name: str) -> Tensor:
        nonlocal most
        tensor = read(model, name)
        living.append(weakref.ref(tensor))
        most = max(most, sum(one() is not None for one in living))
        return tensor

    monkeypatch.setattr(Model, "read", watched)
    average(models, tmp_path / "out")
    assert most <= 2, "the one that is read, and the one before it"


def test_all_else_is_that_of_the_first_but_no_other_weights_and_no_card(start: Path, tmp_path: Path) -> None:
    models = [tuned(start, tmp_path / str(seed), seed) for seed in range(2)]
    for name in ("pytorch_model.bin", "model.fp32.safetensors", STATE_FILE, "README.md"):
        (models[0].folder / name).write_text("old")
    average(models, tmp_path / "out")
    made = {file.name for file in (tmp_path / "out").iterdir()}
    assert made == {file.name for file in start.iterdir()} | {"average.json", "README.md"}
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (models[0].folder / name).read_bytes()
    assert type(AutoProcessor.from_pretrained(tmp_path / "out")).__name__ == "WhisperProcessor"


def test_features_kept_with_the_processor_alone_are_written_for_other_tools_too(start: Path, tmp_path: Path) -> None:
    models = [tuned(start, tmp_path / str(seed), seed) for seed in range(2)]
    whole = (models[0].folder / "preprocessor_config.json").read_text()
    (models[0].folder / "preprocessor_config.json").unlink()
    find_model(models[0].place)
    average(models, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "preprocessor_config.json").read_text()) == json.loads(whole)


def test_the_record_says_what_was_averaged_and_not_where_it_was(start: Path, tmp_path: Path) -> None:
    run = SearchRun.write(tmp_path / "search", start)
    models = [find_model(run.folder.uri), tuned(start, tmp_path / "seed-2" / "model", 2)]
    average(models, tmp_path / "out", [0.25, 0.75])
    record = json.loads((tmp_path / "out" / "average.json").read_text())
    name = run.folder.uri.rpartition("/")[2]
    wanted = [{"model": f"{name}/search-1", "share": 0.25}, {"model": "seed-2/model", "share": 0.75}]
    assert record["models"] == wanted
    assert record["versions"]["torch"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| {name}/search-1 | 25.00 |\n| seed-2/model | 75.00 |\n" in card
    assert str(tmp_path) not in card + json.dumps(record)


def test_it_is_exported_with_a_card_whose_code_works(start: Path, tmp_path: Path) -> None:
    average([tuned(start, tmp_path / str(seed), seed) for seed in range(2)], tmp_path / "out")
    found = find_average(str(tmp_path / "out"))
    assert found
    assert (found.title, found.models[0].share) == ("average of 2 models", 0.5)
    assert found == find_average(f"{tmp_path}/out/")
    assert find_average(f"file://{tmp_path}/out").models == found.models  # type: ignore[union-attr]
    assert find_average(str(start)) is None
    export(found, tmp_path / "exported")
    assert_equal(tmp_path / "exported", weights_of(tmp_path / "out"))
    again = find_average(str(tmp_path / "exported"))
    assert again
    assert again.models == [Member(f"{tmp_path.name}/{seed}", 0.5) for seed in range(2)]
    assert 'language": "LANGUAGE"' in (tmp_path / "exported" / "README.md").read_text()
    by_card(tmp_path / "exported", "transformers")


def test_the_model_of_a_run_is_the_one_that_is_exported(start: Path, tmp_path: Path) -> None:
    run = SearchRun.write(tmp_path, start)
    model = find_model(run.folder.uri)
    assert (model.place, model.folder) == (run.folder.uri, Path(run.folder.path("trials", "search-1", "step-00000020")))


def test_the_average_of_a_run_is_averaged_once_it_is_exported(start: Path, tmp_path: Path) -> None:
    run = SearchRun.write(tmp_path, start, confirm=True)
    run.average()
    assert "must have a single model, but got an average of 3. Export it, and name the exported folder" in refusal(
        Path(run.folder.uri)
    )


@pytest.mark.parametrize("shares", [[0.5, 0.6], [1.5, -0.5], [1.0, 0.0], [1.0]])
def test_shares_must_be_positive_and_one_together(start: Path, tmp_path: Path, shares: list[float]) -> None:
    models = [find_model(str(start)), find_model(str(start))]
    with pytest.raises(ValueError, match="2 models must have as many positive shares"):
        average(models, tmp_path / "out", shares)
    assert list(tmp_path.iterdir()) == []


# What is refused.


def told(*models: Model) -> str:
    return "\n".join(map(str, problems(models)))


def test_what_can_be_averaged_is_not_refused(start: Path, tmp_path: Path) -> None:
    models = [tuned(start, tmp_path / str(seed), seed) for seed in range(3)]
    assert told(find_model(str(start)), *models) == ""
    apart = distance(models[0], models[1])
    assert apart == pytest.approx(STEP * 2**0.5, rel=0.1)


def test_independent_trainings_are_far_beyond_the_bound(start: Path, tmp_path: Path) -> None:
    other = find_model(str(write_tiny_whisper(tmp_path / "other", seed=1)))
    one = find_model(str(start))
    assert distance(one, other) == pytest.approx(2**0.5, rel=0.05)
    assert FARTHEST < 1
    got = told(one, other)
    assert f"{other.place}: must be a fine-tuning of the same start as {start}: matrices at most 0.5 apart" in got
    assert re.search(r"but got 1\.4\d\. Models that were trained apart", got)


def test_constants_that_are_the_same_in_all_do_not_hide_another_start(start: Path, tmp_path: Path) -> None:
    """Whisper's sinusoids are far longer than its weights."""
    other = write_tiny_whisper(tmp_path / "other", seed=1)
    sinusoids = "model.encoder.embed_positions.weight"
    assert torch.equal(weights_of(start)[sinusoids], weights_of(other)[sinusoids])
    one, two = (torch.cat([part.flatten() for part in weights_of(folder).values()]) for folder in (start, other))
    assert torch.dist(one, two) / one.norm() < FARTHEST
    assert "same start" in told(find_model(str(start)), find_model(str(other)))


def test_a_training_that_diverged_is_refused(start: Path, tmp_path: Path) -> None:
    broken = WhisperForConditionalGeneration.from_pretrained(start)
    with torch.no_grad():
        broken.model.decoder.layers[0].fc1.weight[0, 0] = torch.nan
    shutil.copytree(start, tmp_path / "broken")
    broken.save_pretrained(tmp_path / "broken")
    assert "but got nan" in told(find_model(str(start)), find_model(str(tmp_path / "broken")))


def test_the_same_folder_twice_is_refused(start: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(start)
    one, link = find_model(str(start)), find_model(str(tmp_path / "link"))
    assert told(one, link) == f"{link.place}: must be another model than those before it, but got {start}"


def test_another_size_is_refused_with_all_that_differs(start: Path, tmp_path: Path) -> None:
    one = find_model(str(start))
    wider = told(one, find_model(str(write_tiny_whisper(tmp_path / "wide", d_model=32, decoder_attention_heads=4))))
    assert f"decoder_attention_heads must be 2, as in {start}, but got 4" in wider
    assert re.search(r"tensors must have the shapes .*, but got \S+ \[\d.*\], .* and \d+ more", wider)
    deeper = told(one, find_model(str(write_tiny_whisper(tmp_path / "deep", decoder_layers=2))))
    assert re.search(r"must have no other tensors than .*model\.decoder\.layers\.1\..* and \d+ more", deeper)
    shallower = told(find_model(str(tmp_path / "deep")), one)
    assert re.search(r"must have every tensor of .*, but got no model\.decoder\.layers\.1\.", shallower)
    longer = told(one, find_model(str(write_tiny_whisper(tmp_path / "long", words=10))))
    assert re.search(r"the tokenizer must have (\d+) tokens", longer)
    assert "same start" not in wider + deeper + shallower + longer


def test_all_problems_come_at_once(start: Path, tmp_path: Path) -> None:
    others = [write_tiny_whisper(tmp_path / "deep", decoder_layers=2), write_tiny_whisper(tmp_path / "other", seed=1)]
    found = problems([find_model(str(folder)) for folder in (start, *others, start)])
    assert {problem.path for problem in found} == {str(folder) for folder in (start, *others)}


def refusal(place: Path) -> str:
    with pytest.raises(InputError) as error:
        find_model(str(place))
    return str(error.value)


def test_an_adapter_is_refused_with_what_to_do(start: Path, tmp_path: Path) -> None:
    model = load_model(str(start))
    add_adapter(model, LoraSettings(2, 4, 0.0, ["q_proj"]), seed=0)
    save_model(model, str(start), tmp_path / "adapter")
    assert "must be a whole model, but got an adapter (PEFT). Merge it first" in refusal(tmp_path / "adapter")
    run = SearchRun.write(tmp_path / "run", tmp_path / "adapter")
    assert "Export it, and name the exported folder" in refusal(Path(run.folder.uri))


def test_what_is_no_model_is_refused(start: Path, tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").startswith(f"{tmp_path}/none: must be a run folder with experiment.yaml, or")
    (tmp_path / "torch").mkdir()
    shutil.copy(start / "config.json", tmp_path / "torch")
    (tmp_path / "torch" / "pytorch_model.bin").touch()
    assert f"{tmp_path}/torch: must hold its weights as safetensors" in refusal(tmp_path / "torch")
    (tmp_path / "torch" / "model.safetensors").write_text("broken")
    assert "must hold its weights as safetensors" in refusal(tmp_path / "torch")
    run = SearchRun.write(tmp_path / "run", start, violation=2.0)
    assert f"{run.folder.uri}: must have a feasible trial" in refusal(Path(run.folder.uri))


def test_weights_that_are_no_floats_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "config.json").write_text("{}")
    save_file({"one": torch.ones(2, dtype=torch.int8)}, tmp_path / "model.safetensors")
    assert "must have floating-point weights, but got I8" in refusal(tmp_path)
