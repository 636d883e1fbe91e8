from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from raywce.cluster.decode import run_evaluation
from raywce.data.features import LogMel
from raywce.evaluation.evaluate import Evaluation
from raywce.evaluation.rates import rates_by_language
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.time_stamps import TimeStamps, read, time_stamps
from raywce.model import load_model, load_tokenizer
from tests.evaluation.talking_whisper import write_talking_whisper
from tests.tiny_corpus import write_tiny_corpus

END, FIRST = 10, 100  # ids of <|endoftext|> and <|0.00|>


@pytest.mark.parametrize(
    ("tokens", "whole", "end"),
    [
        ([100, 1, 2, 150, END, END], True, 1.0),
        ([100, 1, 120, 120, 2, 3, 180], True, 1.6),
        ([100, 1, 120, 130, 2, 180], True, 1.6),
        ([100, 1, 2, END], False, 0.0),
        ([1, 2, END], False, None),
        ([1, 2, 150, END], False, 1.0),
        ([100, 150, END], False, 1.0),
        ([150, 1, 150], False, 1.0),
        ([100, 1, 150, 140, 2, 180], False, 1.6),
        ([100, 1, 120, 2, 3, 180, END], False, 1.6),
        ([100, 1, 120, 120, 2, END], False, 0.4),
        ([END], False, None),
        ([], False, None),
    ],
)
def test_each_piece_of_text_has_a_start_and_a_later_end(tokens: list[int], whole: bool, end: float | None) -> None:
    found = read(tokens, FIRST, END)
    assert found.whole is whole
    assert found.end == (None if end is None else pytest.approx(end))


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says letters, with no time stamp suppressed."""
    folder = write_talking_whisper(tmp_path_factory.mktemp("talking"))
    model = load_model(str(folder))
    model.generation_config.suppress_tokens = None
    model.save_pretrained(folder)
    return folder


def test_the_end_is_the_one_that_the_tokenizer_reads(talking: Path) -> None:
    tokenizer = load_tokenizer(str(talking))
    first, end = (tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("0.00", "endoftext"))
    text = tokenizer("ola", add_special_tokens=False)["input_ids"]
    tokens = [first, *text, first + 60, first + 70, *text, first + 95, end]
    offsets = tokenizer.decode(tokens, output_offsets=True)["offsets"]
    starts, ends = zip(*(one["timestamp"] for one in offsets), strict=True)
    assert len(offsets) == 2
    # It takes the first stamp to stand behind the last special token, which it does in Whisper's own vocabulary.
    assert read(tokens, first, end) == TimeStamps(True, pytest.approx(ends[-1] - starts[0]))


def test_they_are_those_of_what_transformers_generates(talking: Path) -> None:
    model = load_model(str(talking)).eval()
    first = load_tokenizer(str(talking)).convert_tokens_to_ids("<|0.00|>")
    noise = np.random.default_rng(0).normal(0, 0.1, (3, 32_000)).astype(np.float32)
    features = LogMel.from_checkpoint(str(talking)).of(list(noise))
    model.generation_config.max_length = 40
    found = time_stamps(model, features, ["gl", "es", "en"])
    for row, language, stamps in zip(features, ("gl", "es", "en"), found, strict=True):
        how = {"language": language, "task": "transcribe", "return_timestamps": True}
        with torch.no_grad():
            (tokens,) = model.generate(input_features=row[None], **how)
        last = [token for token in tokens.tolist() if token >= first][-1]
        assert stamps.end == pytest.approx(0.02 * (last - first))


def test_an_evaluation_measures_them_where_asked(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_tiny_corpus(tmp_path / "speech", {"gl": 2, "es": 2}, {"gl": 3, "es": 2})
    asked: list[int] = []

    def half(model: object, features: torch.Tensor, languages: list[str]) -> list[TimeStamps]:
        asked.append(features.shape[2])
        return [TimeStamps(language == "gl", 1.0 if language == "gl" else None) for language in languages]

    monkeypatch.setattr("raywce.evaluation.evaluate.time_stamps", half)

    def table(timestamps: bool) -> object:
        settings = DecodeSettings(timestamps=timestamps, encoder_context="batch", batch_size=2)
        return run_evaluation(Evaluation(str(talking), str(data), "dev", ("gl", "es"), tmp_path / "c", settings))

    plain, stamped = table(False), table(True)
    assert asked == [3000] * 3, "of the whole window, two utterances at once"
    assert plain["hypothesis"] == stamped["hypothesis"]
    assert plain["time_stamps_whole"].null_count == 5
    rates = rates_by_language(stamped)
    assert (rates["gl"].time_stamps_whole, rates["es"].time_stamps_whole) == (1.0, 0.0)
    durations = [row["duration"] for row in stamped.to_pylist() if row["language"] == "gl"]
    assert rates["gl"].time_stamps_error == pytest.approx(np.mean(np.abs(np.subtract(durations, 1.0))))
    assert rates["es"].time_stamps_error is None
    assert rates_by_language(plain)["gl"].time_stamps_whole is None
