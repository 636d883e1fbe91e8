from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import WhisperForConditionalGeneration

from raywce.evaluation.evaluate import Evaluation, evaluate
from raywce.evaluation.settings import DecodeSettings
from raywce.export.weights import Model, overwrite
from tests.evaluation.talking_whisper import write_talking_whisper
from tests.tiny_corpus import write_tiny_corpus


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    return Evaluation(
        model=str(write_talking_whisper(tmp_path / "model")),
        data=str(write_tiny_corpus(tmp_path / "data", {"gl": 1, "es": 1}, {"gl": 6, "es": 5})),
        split="dev",
        languages=("gl", "es"),
        cache=tmp_path / "cache",
        settings=DecodeSettings(batch_size=2),
    )


def test_the_parts_of_dev_are_all_of_it(evaluation: Evaluation) -> None:
    whole = {row["id"]: row["hypothesis"] for row in evaluate(evaluation).to_pylist()}
    parts = [evaluate(replace(evaluation, part=part, dev_share=0.4)).to_pylist() for part in ("search", "confirm")]
    assert all(parts)
    assert {row["id"]: row["hypothesis"] for part in parts for row in part} == whole
    assert len(whole) == sum(map(len, parts)) == 11


def test_an_average_decodes_as_the_folder_that_is_exported_of_it(evaluation: Evaluation, tmp_path: Path) -> None:
    places = [tuned(write_talking_whisper(tmp_path / str(seed)), seed) for seed in range(3)]
    single, averaged = (
        evaluate(replace(evaluation, model=str(places[0]), others=others))["hypothesis"].to_pylist()
        for others in ((), tuple(map(str, places[1:])))
    )
    assert averaged != single
    overwrite(places[0], [Model(str(place), place.name, place) for place in places], [1 / 3] * 3)
    assert evaluate(replace(evaluation, model=str(places[0])))["hypothesis"].to_pylist() == averaged


def tuned(folder: Path, seed: int) -> Path:
    """Weights a little apart, as after a fine-tuning."""
    model, draws = WhisperForConditionalGeneration.from_pretrained(folder), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draws), alpha=0.05)
    model.save_pretrained(folder)
    return folder
